"""A bundle is the copy of a lost index: its tracks are indexed again, and nothing of it is believed unseen."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.errors import Cancelled, DestinationError
from cachestore.links import LinkMode
from cachestore.store.writer import Store
from cachestore.track import Track
from cachestore.verify.adoption import Adoption, adopt
from cachestore.version import Version, VersionKind
from tests.library import make_wave
from tests.stores import etag, put, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cachestore.entry import Entry

    Document = dict[str, Any]

EXPORTED_AT = "2026-01-31T12:00:00Z"
BODY = make_wave(10_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "root") as opened:
        yield opened


def export(
    store: Store, entries: list[Entry], dest: Path, mode: LinkMode = LinkMode.HARDLINK, **fields: object
) -> Document:
    """Make a bundle of `entries` as an export does, unregistered, and return its bundle.json."""
    (dest / "media").mkdir(parents=True)
    for number, entry in enumerate(entries):
        store.link(entry, dest / f"media/{number}.wav", mode)
    tracks = [
        {
            "index": number,
            "track": entry.address,
            "label": entry.label,
            "status": "done",
            "file": f"media/{number}.wav",
            "key": entry.key,
            "validator": entry.version.value,
            "validator_kind": entry.version.kind,
            "place": entry.place,
            "digest": entry.digest,
            "freshness": "fresh",
        }
        | fields
        for number, entry in enumerate(entries)
    ]
    files = [
        {"file": track["file"], "identity": track["track"], "content": track["digest"], "link_mode": mode}
        for track in tracks
    ]
    document = {"bundle": 1, "name": "Friday", "exported_at": EXPORTED_AT, "files": files, "tracks": tracks}
    return write(dest, document)


def write(dest: Path, document: Document) -> Document:
    (dest / "bundle.json").write_text(json.dumps(document))
    return document


def lose_index(store: Store) -> Store:
    """Return the store with a new index."""
    store.close()
    shutil.rmtree(store.root.index)
    return Store.open(store.root.path)


def actions(store: Store, dest: Path) -> list[tuple[str, bool]]:
    return [(done.action, done.adopted) for done in adopt(store, dest)]


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int, int, int]]:
    infos = {path: path.lstat() for path in folder.rglob("*") if path.is_file()}
    return {path: (path.read_bytes(), i.st_ino, i.st_mtime_ns, i.st_mode) for path, i in infos.items()}


@pytest.mark.parametrize("version", [etag("1"), Version(VersionKind.MODIFIED, "Sat, 31 Jan 2026 12:00:00 GMT 9"), None])
def test_a_blob_that_a_lost_index_left_is_indexed_as_it_was(
    store: Store, tmp_path: Path, version: Version | None
) -> None:
    entry = put(store, "a@b%c", BODY, version=version)
    export(store, [entry], tmp_path / "Friday")
    before = snapshot(tmp_path / "Friday")
    with lose_index(store) as fresh:
        assert fresh.find(Track("s", "a@b%c")) is None
        assert list(adopt(fresh, tmp_path / "Friday")) == [
            Adoption(entry.key, entry.label, entry.digest, "media/0.wav", "indexed again", adopted=True)
        ]
        found = fresh.find(Track("s", "a@b%c"))
        assert found is not None
        same = ("key", "version", "digest", "size", "media_type", "ext", "label", "place")
        assert [getattr(found, name) for name in same] == [getattr(entry, name) for name in same]
        assert found.validated_at == found.used_at == 1769860800.0
        assert verify(fresh).problems == ()
        [bundle] = fresh.bundles()
        assert (bundle.dest, bundle.name, len(bundle.files)) == (tmp_path / "Friday", "Friday", 1)
        assert entry.digest in fresh.holders_of([entry.digest])
    assert snapshot(tmp_path / "Friday") == before


def test_a_file_that_only_the_bundle_has_is_linked_back_and_hashed_at_its_next_use(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    store.evict([entry.key])
    before = snapshot(tmp_path / "Friday")
    assert actions(store, tmp_path / "Friday") == [("linked back from the bundle", True)]
    assert snapshot(tmp_path / "Friday") == before
    assert store.blobs.path(entry.digest).samefile(tmp_path / "Friday/media/0.wav")
    hashed: list[Path] = []

    def counting(path: Path) -> str:
        hashed.append(path)
        return entry.digest

    monkeypatch.setattr("cachestore.store.witnesses.hash_file", counting)
    assert store.find(Track("s", "a")) is not None
    assert len(hashed) == 1
    assert verify(store).problems == ()


def test_a_damaged_blob_is_replaced_by_the_file_of_the_bundle(store: Store, tmp_path: Path) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    blob = store.blobs.path(entry.digest)
    blob.unlink()
    blob.write_bytes(b"damaged")
    with lose_index(store) as fresh:
        assert actions(fresh, tmp_path / "Friday") == [("linked back from the bundle", True)]
        assert fresh.find(Track("s", "a")) is not None
        assert [path.read_bytes() for path in fresh.root.quarantine.iterdir()] == [b"damaged"]


def test_what_is_in_the_cache_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    assert actions(store, tmp_path / "Friday") == [("left alone: it is in the cache", True)]
    assert store.find(Track("s", "a")) == entry


def edit(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(make_wave(10_000, "other"))
    path.chmod(0o444)


def be_a_copy(path: Path) -> None:
    path.chmod(0o644)


def be_a_link_to_elsewhere(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def be_below_a_link_to_elsewhere(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    path.parent.rename(elsewhere)
    path.parent.symlink_to(elsewhere)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit, "was changed since it was exported"),
        (be_a_copy, "is a copy, not a link of this cache"),
        (Path.unlink, "is neither in the cache nor in the bundle"),
        (be_a_link_to_elsewhere, "a symbolic link leads out of the bundle"),
        (be_below_a_link_to_elsewhere, "a symbolic link leads out of the bundle"),
    ],
)
def test_a_file_of_the_bundle_that_is_not_ours_any_more_is_left(
    store: Store, tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    store.evict([entry.key])
    change(tmp_path / "Friday/media/0.wav")
    [done] = adopt(store, tmp_path / "Friday")
    assert (said in done.action, done.adopted) == (True, False)
    assert store.blobs.stat(entry.digest) is None
    assert list(store.entries()) == []


def test_a_file_that_cannot_be_linked_is_left(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    store.evict([entry.key])

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    [done] = adopt(store, tmp_path / "Friday")
    assert ("cannot be linked (Invalid cross-device link)" in done.action, done.adopted) == (True, False)


def test_a_file_that_is_edited_right_before_it_is_linked_is_not_taken(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday")
    store.evict([entry.key])
    link = os.link

    def edit_and_link(source: Path, dest: Path) -> None:
        edit(Path(source))
        link(source, dest)

    monkeypatch.setattr(os, "link", edit_and_link)
    assert actions(store, tmp_path / "Friday") == [("left alone: its file was changed meanwhile", False)]
    assert store.blobs.stat(entry.digest) is None


def test_an_older_bundle_does_not_make_its_version_current(store: Store, tmp_path: Path) -> None:
    old = put(store, "a", BODY, version=etag("1"))
    export(store, [old], tmp_path / "Friday")
    store.evict([old.key])
    new = put(store, "a", make_wave(5000), version=etag("2"))
    assert actions(store, tmp_path / "Friday") == [("linked back from the bundle", True)]
    assert [entry.key for entry in store.named(Track("s", "a"))] == [new.key, old.key]


def test_a_newer_bundle_makes_its_version_current_whatever_the_order(store: Store, tmp_path: Path) -> None:
    old, new = put(store, "a", BODY, version=etag("1")), put(store, "a", make_wave(5000), version=etag("2"))
    export(store, [old], tmp_path / "Old")
    write(tmp_path / "Old", export(store, [new], tmp_path / "New") | {"exported_at": "2026-03-01T00:00:00Z"})
    shutil.move(tmp_path / "Old/bundle.json", tmp_path / "New/bundle.json")
    export(store, [old], tmp_path / "Older")
    with lose_index(store) as fresh:
        list(adopt(fresh, tmp_path / "New"))
        list(adopt(fresh, tmp_path / "Older"))
        assert [entry.key for entry in fresh.named(Track("s", "a"))] == [new.key, old.key]


def test_a_stale_track_counts_as_never_confirmed(store: Store, tmp_path: Path) -> None:
    export(store, [put(store, "a", BODY)], tmp_path / "Friday", freshness="stale")
    with lose_index(store) as fresh:
        list(adopt(fresh, tmp_path / "Friday"))
        [entry] = fresh.entries()
        assert (entry.validated_at, entry.used_at) == (0.0, 1769860800.0)


def test_a_validator_that_stood_for_two_states_keeps_both_keys(store: Store, tmp_path: Path) -> None:
    entries = [put(store, "a", make_wave(size)) for size in (10_000, 5_000)]
    assert entries[1].version.digest
    export(store, entries, tmp_path / "Friday")
    with lose_index(store) as fresh:
        assert [done.adopted for done in adopt(fresh, tmp_path / "Friday")] == [True, True]
        assert {entry.key for entry in fresh.entries()} == {entry.key for entry in entries}


NONSENSE = [
    {"key": "s:a"},
    {"key": "url:"},
    {"key": "cachestore:a@0123456789abcdef"},
    {"key": 7},
    {"key": "s:a@0123456789abcdef"},
    {"validator": '"2"'},
    {"validator_kind": "rumour"},
    {"validator_kind": ["etag"]},
    {"digest": "xxh3-128:../../../etc/passwd"},
    {"digest": None},
    {"file": "../secret.wav"},
    {"file": "/etc/passwd"},
    {"file": "media/../../secret.wav"},
    {"file": "media\\..\\secret.wav"},
    {"file": "media/\0"},
    {"file": ""},
    {"file": None},
]


@pytest.mark.parametrize("fields", NONSENSE)
def test_a_track_whose_parts_do_not_fit_together_is_said_and_left(
    store: Store, tmp_path: Path, fields: Document
) -> None:
    entry = put(store, "a", BODY)
    export(store, [entry], tmp_path / "Friday", **fields)
    with lose_index(store) as fresh:
        [done] = adopt(fresh, tmp_path / "Friday")
        assert "does not fit together" in done.action
        assert list(fresh.entries()) == []


def test_another_digest_than_the_bytes_have_is_not_believed(store: Store, tmp_path: Path) -> None:
    export(store, [put(store, "a", BODY)], tmp_path / "Friday", digest="xxh3-128:" + "1" * 32)
    with lose_index(store) as fresh:
        [done] = adopt(fresh, tmp_path / "Friday")
        assert "was changed since it was exported" in done.action
        assert list(fresh.entries()) == []


def test_bytes_that_are_no_audio_are_left(store: Store, tmp_path: Path) -> None:
    export(store, [put(store, "a", b"no audio")], tmp_path / "Friday")
    with lose_index(store) as fresh:
        assert actions(fresh, tmp_path / "Friday") == [("left alone: it is no audio", False)]


def test_local_tracks_holes_and_unknown_fields_are_passed_over(store: Store, tmp_path: Path) -> None:
    document = export(store, [put(store, "a", BODY)], tmp_path / "Friday", colour="red")
    document["tracks"] += [{"index": 1, "status": "skipped", "key": None}, {"track": "Local/Intro.wav"}, "odd", None]
    document["files"] += [{"file": "media/x.wav", "identity": "file:x", "content": "1-2", "link_mode": "copy"}, 3]
    document["mood"] = "good"
    write(tmp_path / "Friday", document)
    with lose_index(store) as fresh:
        assert actions(fresh, tmp_path / "Friday") == [("indexed again", True)]
        [bundle] = fresh.bundles()
        assert [file.file for file in bundle.files] == ["media/0.wav"]


def test_a_bundle_without_times_and_lists_has_nothing_to_adopt(store: Store, tmp_path: Path) -> None:
    write(tmp_path, {"bundle": 1, "exported_at": "soon", "tracks": 7, "files": {}})
    assert list(adopt(store, tmp_path)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "has no bundle.json"),
        ("{", "damaged or not ours"),
        ("[]", "damaged or not ours"),
        ("{}", "damaged or not ours"),
        ('{"bundle": "1"}', "damaged or not ours"),
        ("[" * 100_000, "damaged or not ours"),
        ('{"bundle": 2}', "newer version"),
    ],
)
def test_what_is_no_bundle_is_one_sentence(store: Store, tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "bundle.json").write_text(text)
    with pytest.raises(DestinationError, match=said):
        list(adopt(store, tmp_path))


def test_adopting_stops_when_it_is_cancelled(store: Store, tmp_path: Path) -> None:
    export(store, [put(store, "a", BODY)], tmp_path / "Friday")
    cancel = threading.Event()
    cancel.set()
    with lose_index(store) as fresh, pytest.raises(Cancelled):
        list(adopt(fresh, tmp_path / "Friday", cancel))

"""``ls show info why verify doctor``: looking at the store without changing it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.cli import doctor, probes
from cachestore.cli.main import run
from cachestore.links import LinkMode
from cachestore.quantities import format_size
from cachestore.rows import Bundle, BundleFile
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.stores import etag, held_staging, incoming, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from cachestore.entry import Entry
    from tests.conftest import StartRawServer
    from tests.stranger import Stranger

    Run = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a store: s:1 held by a bundle and copied into another, s:2 in two versions, o:3 pinned."""
    root = tmp_path / "store"
    with Store.open(root) as store:
        held = put(store, "1", b"first")
        put(store, "2", b"old")
        put(store, "2", b"new!", version=etag("2"))
        put(store, "3", b"pinned", source="o")
        store.pin(Track("o", "3"), pinned=True)
        _export(store, held, tmp_path / "Friday", LinkMode.HARDLINK)
        _export(store, held, tmp_path / "Saturday", LinkMode.COPY)
        _export(store, held, tmp_path / "Lost", LinkMode.COPY)
    shutil.rmtree(tmp_path / "Lost")
    return root


def _export(store: Store, entry: Entry, dest: Path, mode: LinkMode) -> None:
    (dest / "media").mkdir(parents=True)
    store.link(entry, dest / "media/01.wav", mode)
    store.register(Bundle(dest, dest.name, 0.0, (BundleFile("media/01.wav", entry.digest, mode),)))


@pytest.fixture
def answer(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the store and return its stdout."""

    def ask(*args: str, code: int = 0) -> str:
        assert run(["--root", str(root), *args]) == code
        return capsys.readouterr().out

    return ask


def objects(text: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(text)


def test_ls_shows_labels_and_addresses_that_can_be_pasted_back(answer: Run) -> None:
    listing = answer("ls")
    assert listing.splitlines()[0].split("  ")[0] == "TRACK"
    rows = [re.split(r"\s{2,}", line) for line in listing.splitlines()[1:]]
    assert [row[0] for row in rows] == ["Artist - Title 3", "Artist - Title 1", "Artist - Title 2", "Artist - Title 2"]
    assert rows[0][1:] == ["o:3", "6 B", "just now", "pinned"]
    assert rows[1][1:] == ["s:1", "5 B", "just now", "held"]
    for row in rows:
        assert row[1].partition("@")[0] in answer("show", row[1])


@pytest.mark.parametrize(
    ("pattern", "count"), [("s:", 3), ("o:", 1), ("TITLE 2", 2), ("artist", 4), ("@", 4), ("absent", 0)]
)
def test_ls_finds_by_name_and_address(answer: Run, pattern: str, count: int) -> None:
    assert len(objects(answer("ls", pattern, "--json"))) == count


def test_ls_names_a_track_without_a_title_by_its_address_as_other_commands_do(answer: Run, root: Path) -> None:
    with Store.open(root) as store:
        store.put([incoming(store, "4", b"4")._replace(track=Track("s", "4"))])
    assert re.split(r"\s{2,}", answer("ls", "s:4").splitlines()[1])[:2] == ["s:4", "s:4"]


def test_ls_counts_on_stderr_so_that_stdout_is_the_list(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "absent", "--root", str(root)]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "0 tracks, 0 B\n")
    assert run(["ls", "-q", "--root", str(root)]) == 0
    assert capsys.readouterr().err == ""


def test_ls_json_has_the_documented_keys(answer: Run, tmp_path: Path) -> None:
    entries = {entry["key"].partition("@")[0]: entry for entry in objects(answer("ls", "--json"))}
    times = {name: entries["s:1"].pop(name) for name in ("stored_at", "validated_at", "used_at")}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text) for text in times.values())
    assert re.fullmatch(r"s:1@[0-9a-f]{16}", entries["s:1"].pop("key"))
    assert entries["s:1"] == {
        "source": "s",
        "id": "1",
        "label": "Artist - Title 1",
        "size": 5,
        "ext": "wav",
        "pinned": False,
        "held": True,
        "bundles": [str(tmp_path / "Friday"), str(tmp_path / "Saturday")],
    }
    assert (entries["o:3"]["pinned"], entries["o:3"]["held"], entries["o:3"]["bundles"]) == (True, False, [])


def test_show_tells_all_versions_the_newest_first(answer: Run) -> None:
    versions = objects(answer("show", "s:2", "--json"))
    assert [entry["version"] for entry in versions] == [
        {"kind": "etag", "value": '"2"'},
        {"kind": "etag", "value": '"1"'},
    ]
    assert len(objects(answer("show", versions[1]["key"], "--json"))) == 1
    assert answer("show", "s:2").count("address") == 2


def test_show_lists_the_bundles_of_a_track(answer: Run, tmp_path: Path) -> None:
    page = answer("show", "s:1")
    assert "track      Artist - Title 1\n" in page
    assert "file       wav, audio/wav, 5 B\n" in page
    assert "held       yes\n" in page
    assert f"bundle     {tmp_path / 'Friday'}\nbundle     {tmp_path / 'Saturday'}\n" in page
    assert f"lost       {tmp_path / 'Lost'}, which was moved or deleted\n" in page
    [facts] = objects(answer("show", "s:1", "--json"))
    assert facts["bundles"] == [str(tmp_path / "Friday"), str(tmp_path / "Saturday")]
    assert facts["lost_bundles"] == [str(tmp_path / "Lost")]


@pytest.mark.parametrize("command", ["show", "pin", "unpin", "rm"])
@pytest.mark.parametrize("address", ["s:9", "s:1@0123456789abcdef"])
def test_what_is_not_in_the_cache_is_one_sentence(
    root: Path, capsys: pytest.CaptureFixture[str], command: str, address: str
) -> None:
    assert run([command, address, "--root", str(root)]) == 1
    assert capsys.readouterr().err == f"cachestore: {address} is not in the cache; cachestore ls shows what is\n"


def test_info_json_has_the_documented_keys(answer: Run, root: Path) -> None:
    facts = objects(answer("info", "--json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", facts.pop("oldest_used_at"))
    cost = facts["held_bytes"]
    assert cost > 0
    assert facts == {
        "root": str(root),
        "max_size": 20 * 10**9,
        "min_free": 2 * 10**9,
        "entries": 4,
        "blobs": 4,
        "logical_bytes": 18,
        "exclusive_bytes": 3 * cost,
        "held_bytes": cost,
        "partial_bytes": 0,
        "quarantine_bytes": 0,
        "reserved_bytes": 0,
        "pinned": 1,
        "hits": 0,
        "misses": 0,
        "partials": [],
    }


def test_info_lists_the_downloads_that_were_cut_short(stranger: Stranger, raw_server: StartRawServer) -> None:
    body = b"fLaC" + bytes(8192)
    head = 'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Type: audio/flac\r\nContent-Length: 100000\r\n\r\n'
    url = raw_server(head.encode() + body).url
    stranger.configure(url)
    stranger.run("fetch", f"{url}/x", code=75)
    facts = stranger.run("info", "--json").facts
    [partial] = facts["partials"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", partial.pop("changed_at"))
    assert partial == {"track": f"url:{url}/x", "received": len(body), "total": 100000}
    size = format_size(facts["partial_bytes"])
    told = f"partial     {size} in 1 unfinished download, under way or to be resumed; prune removes what nobody needs\n"
    assert told in stranger.run("info").out


def test_info_is_readable(answer: Run, root: Path) -> None:
    page = answer("info")
    assert f"root        {root}\n" in page
    assert re.search(r"^bound       12\.3 kB of 20\.0 GB \(0 %\)$", page, re.MULTILINE)
    assert "tracks      4 in 4 files, 18 B\n" in page


def test_what_an_export_is_still_filling_is_no_bundle_yet(answer: Run, root: Path, tmp_path: Path) -> None:
    with Store.open(root) as store, store.run("export") as run_id:
        entry = store.named(Track("s", "1"))[0]
        staging = held_staging(store, run_id, tmp_path / "Sunday", entry)
        for told in (answer("show", "s:1"), answer("ls", "s:1", "--json"), answer("show", "s:1", "--json")):
            assert str(tmp_path / "Friday") in told
            assert staging.name not in told
        assert staging.name not in answer("why", str(tmp_path / "Friday/media/01.wav"))


def test_why_names_the_track_of_a_bundle_file_and_the_other_bundles(answer: Run, tmp_path: Path) -> None:
    path = tmp_path / "Friday/media/01.wav"
    facts = objects(answer("why", str(path), "--json"))
    assert re.fullmatch(r"s:1@[0-9a-f]{16}", facts["tracks"][0].pop("key"))
    assert re.fullmatch(r"xxh3-128:[0-9a-f]{32}", facts.pop("digest"))
    assert facts == {
        "path": str(path),
        "bundle": str(tmp_path / "Friday"),
        "link_mode": "hardlink",
        "edited": False,
        "tracks": [{"label": "Artist - Title 1"}],
        "other_bundles": [str(tmp_path / "Saturday")],
        "lost_bundles": [str(tmp_path / "Lost")],
    }
    assert f"also in  {tmp_path / 'Saturday'}\n" in answer("why", str(path))


def test_why_takes_a_path_as_it_is_typed(answer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "Friday")
    monkeypatch.chdir(tmp_path / "Friday")
    assert answer("why", "media/../media/01.wav") == answer("why", str(tmp_path / "link/media/01.wav"))


def test_why_knows_the_files_of_a_bundle_that_was_moved(answer: Run, tmp_path: Path) -> None:
    (tmp_path / "Friday").rename(tmp_path / "Moved")
    (tmp_path / "Saturday").rename(tmp_path / "Moved too")
    linked = objects(answer("why", str(tmp_path / "Moved/media/01.wav"), "--json"))
    copied = objects(answer("why", str(tmp_path / "Moved too/media/01.wav"), "--json"))
    assert [track["label"] for track in linked["tracks"]] == ["Artist - Title 1"]
    assert (linked["bundle"], linked["link_mode"]) == (None, "hardlink")
    assert (copied["bundle"], copied["link_mode"]) == (None, None)
    assert (copied["tracks"], copied["other_bundles"]) == (linked["tracks"], [])
    assert linked["lost_bundles"] == [str(tmp_path / name) for name in ("Friday", "Lost", "Saturday")]
    page = answer("why", str(tmp_path / "Moved/media/01.wav"))
    assert "bundle  none that is registered; one that was moved is, after: cachestore repair --adopt FOLDER\n" in page
    assert f"lost    {tmp_path / 'Friday'}, which was moved or deleted\n" in page


def test_why_knows_an_edited_file_of_a_moved_bundle_by_its_inode(answer: Run, tmp_path: Path) -> None:
    (tmp_path / "Friday").rename(tmp_path / "Moved")
    path = tmp_path / "Moved/media/01.wav"
    path.chmod(0o644)
    path.write_bytes(b"edited")
    facts = objects(answer("why", str(path), "--json"))
    assert [track["label"] for track in facts["tracks"]] == ["Artist - Title 1"]
    assert facts["edited"]


def test_why_tells_that_a_file_was_edited(answer: Run, tmp_path: Path) -> None:
    path = tmp_path / "Friday/media/01.wav"
    path.chmod(0o644)
    path.write_bytes(b"edited")
    assert objects(answer("why", str(path), "--json"))["edited"]
    assert "edited   it has other bytes than were exported\n" in answer("why", str(path))


def test_why_still_answers_for_the_old_place_of_a_lost_bundle(answer: Run, tmp_path: Path) -> None:
    facts = objects(answer("why", str(tmp_path / "Lost/media/01.wav"), "--json"))
    assert (facts["bundle"], facts["lost_bundles"]) == (str(tmp_path / "Lost"), [str(tmp_path / "Lost")])


def test_why_still_knows_a_file_whose_track_was_removed(answer: Run, tmp_path: Path) -> None:
    answer("rm", "s:1")
    assert "track    no longer in the cache\n" in answer("why", str(tmp_path / "Friday/media/01.wav"))


@pytest.mark.parametrize("name", ["Friday", "Friday/media/02.wav", "elsewhere.wav"])
def test_why_of_another_path_is_one_sentence(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["why", str(tmp_path / name), "--root", str(root)]) == 1
    assert capsys.readouterr().err == (
        f"cachestore: {tmp_path / name} is no file that an export took from this cache; "
        "expected a cloud track's file in a bundle\n"
    )


@pytest.mark.parametrize("address", ["s:1", "https://example.org/a.wav"])
def test_why_of_an_address_says_what_tells_of_a_track(
    root: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert run(["why", address, "--root", str(root)]) == 1
    assert capsys.readouterr().err.endswith(f"; of a track you are told by: cachestore show {address}\n")


def test_verify_finds_what_is_wrong_and_repair_mends_it(answer: Run, root: Path, tmp_path: Path) -> None:
    assert answer("verify") == "checked 4 files, found 0 problems\n"
    held = next(path for path in (root / "blobs-v1").rglob("*") if path.is_file() and path.read_bytes() == b"first")
    held.chmod(0o644)
    held.write_bytes(b"tsrif")
    (root / "blobs-v1/stranger").touch()
    report = objects(answer("verify", "--json", code=1))
    assert (report["checked"], report["ok"], report["complete"]) == (4, False, True)
    corrupt, foreign = sorted(report["problems"], key=lambda problem: str(problem["kind"]))
    assert (corrupt["kind"], corrupt["label"], corrupt["bundles"]) == (
        "corrupt",
        "Artist - Title 1",
        [str(tmp_path / "Friday")],
    )
    assert (foreign["kind"], foreign["key"]) == ("foreign", str(root / "blobs-v1/stranger"))
    assert "corrupt  Artist - Title 1  s:1@" in answer("verify", "--quick", code=1)
    assert "found 2 problems\n" in answer("repair")
    sound = {"checked": 3, "ok": True, "problems": [], "complete": True, "left": 0}
    assert objects(answer("verify", "--json")) == sound
    assert objects(answer("repair", "--json")) == {"checked": 3, "repairs": []}


@pytest.mark.parametrize(
    "args", [["ls"], ["show", "s:1"], ["info"], ["verify"], ["prune", "--dry-run", "--max-size", "0"]]
)
def test_looking_writes_nothing(answer: Run, root: Path, args: list[str]) -> None:
    def state() -> list[tuple[str, int, int]]:
        # SQLite's shared memory is no part of the store: it is made and dropped by readers.
        files = (path for path in root.rglob("*") if path.is_file() and path.suffix not in {".db-shm", ".db-wal"})
        return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)

    before = state()
    answer(*args, code=4 if "prune" in args else 0)
    assert state() == before


def test_a_fit_machine_passes_the_doctor(answer: Run, root: Path, tmp_path: Path) -> None:
    page = answer("doctor", str(tmp_path / "new/bundle"))
    assert "PROBLEM" not in page
    assert f"ok       root     {root}\n" in page
    assert "ok       root     hardlinks work" in page
    assert f"ok       dest     {tmp_path / 'new/bundle'} is on the same volume as the store\n" in page
    assert f"read from {Path.home() / '.config/cachestore/config.toml'}.\n" in page
    assert "[sources.studio]\n" in page
    assert page.endswith(f"cachestore --root {root} prune --quiet\n")
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.rglob(".cachestore-probe-*"))


def test_the_doctor_does_not_create_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "none/store"
    assert run(["doctor", "--root", str(root)]) == 0
    assert f"{root} is not there yet, the first fetch or export creates it\n" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_the_source_blocks_of_the_doctor_can_be_pasted(
    tmp_path: Path, answer: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(doctor._SOURCE_BLOCKS)
    page = answer("doctor", "--config", str(file), code=1)
    assert "PROBLEM  source   studio (http)\n" in page
    assert "-> set STUDIO_TOKEN in the environment of export, fetch and playlists\n" in page
    assert "-> set SUBSONIC_PASSWORD in the environment of export, fetch and playlists\n" in page
    assert f"--config {file} prune --quiet\n" in page
    monkeypatch.setenv("STUDIO_TOKEN", "x")
    monkeypatch.setenv("SUBSONIC_PASSWORD", "x")
    page = answer("doctor", "--config", str(file))
    assert "ok       source   studio (http)\nok       source   home (subsonic)\n" in page


def test_the_doctor_finds_a_proxy_that_cannot_be_used(
    tmp_path: Path, answer: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://x")
    assert "PROBLEM" not in answer("doctor")
    file = tmp_path / "config.toml"
    file.write_text('[sources.open]\nkind = "http"\nurl = "https://music.example/{id}"\n')
    page = answer("doctor", "--config", str(file), code=1)
    assert "PROBLEM  network  the environment: a proxy (HTTPS_PROXY, " in page


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("jobs = 0", "PROBLEM  config   {file}: jobs: 0 is not accepted; expected an integer from 1 to 64\n"),
        (
            '[sources.studio]\nkind = "htpp"\nurl = "https://music.example/{id}"',
            "PROBLEM  source   {file}: sources.studio.kind: there is no kind htpp",
        ),
        ('min_free = "100000 TB"', "-> free some space there, or lower min_free (100000.0 TB)\n"),
    ],
)
def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(answer: Run, tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert problem.format(file=file) in answer("doctor", "--config", str(file), code=1)


def test_the_doctor_refuses_a_destination_that_cannot_be_one(answer: Run, root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"PROBLEM  dest     {tmp_path / 'file'} is a file\n" in answer("doctor", str(tmp_path / "file"), code=1)
    assert f"{root / 'x'} lies in the store {root}\n" in answer("doctor", str(root / "x"), code=1)


def test_the_doctor_says_who_may_read_the_store(answer: Run, root: Path) -> None:
    assert "may read" not in answer("doctor")
    root.chmod(0o755)
    assert f"ok       root     {root}, which others may read: chmod 700 prevents that\n" in answer("doctor")


def test_the_doctor_says_why_a_root_is_refused(answer: Run, root: Path) -> None:
    root.chmod(0o777)
    page = answer("doctor", code=1)
    assert "PROBLEM  root     the store at" in page
    assert f"-> run: chmod 700 {root}\n" in page


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_the_doctor_finds_a_folder_that_cannot_be_written(answer: Run, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written (Permission denied)" in answer("doctor", str(locked), code=1)


def test_a_strict_link_mode_that_cannot_work_is_a_problem(
    answer: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "probe_links", lambda *_: probes.Links(hard=False, reflink=False))
    page = answer("doctor")
    assert "hardlinks do not work, reflinks do not work: bundles there are copies and take their full size\n" in page
    file = tmp_path / "config.toml"
    file.write_text('link_mode = "hardlink"')
    assert '-> set link_mode = "auto", or choose a volume with hardlinks\n' in answer(
        "doctor", "--config", str(file), code=1
    )


_MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /mnt/my\\040nas rw - nfs4 nas:/music rw
41 40 8:2 / /mnt/my\\040nas/local rw shared:5 master:2 - xfs /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv", "ext4"), ("/mnt/my nas/music", "nfs4"), ("/mnt/my nas", "nfs4"), ("/mnt/my nas/local/x", "xfs")],
)
def test_the_filesystem_of_a_path_is_that_of_the_deepest_mount(path: str, kind: str) -> None:
    assert probes._filesystem(_MOUNTS, Path(path)) == kind


def test_a_store_on_a_network_filesystem_is_a_problem(answer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "network_filesystem", lambda _: "nfs4")
    page = answer("doctor", code=1)
    assert "is on a network filesystem (nfs4)\n" in page
    assert "-> put the store on a local disk with --root\n" in page


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the type of a filesystem")
def test_a_local_folder_is_on_no_network_filesystem(tmp_path: Path) -> None:
    assert probes.network_filesystem(tmp_path) is None


def test_the_cron_line_survives_cron(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--root", str(tmp_path / "100% mine")]) == 0
    assert f"--root '{tmp_path}/100\\% mine' prune --quiet\n" in capsys.readouterr().out

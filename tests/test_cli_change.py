"""``pin unpin rm prune``: what stays and what goes."""

from __future__ import annotations

import errno
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cachestore.cache import Cache
from cachestore.cli.main import run
from cachestore.config import Config
from cachestore.errors import NoSpace
from cachestore.links import LinkMode
from cachestore.partials import DownloadLock, track_name
from cachestore.root import create_root
from cachestore.rows import Bundle, BundleFile
from cachestore.runs import PruneLock
from cachestore.store.writer import Store
from cachestore.track import Track
from tests.stores import etag, incoming, put
from tests.unfinished import TRACK, age, kept, killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Run = Callable[..., str]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a store with s:1 and two versions of s:2, and a bound that needs none of them removed."""
    root = tmp_path / "store"
    with Store.open(root) as store:
        put(store, "1", b"a" * 5000)
        put(store, "2", b"b" * 5000)
        put(store, "2", b"c" * 5000, version=etag("2"))
    (tmp_path / "config.toml").write_text(f'root = "{root}"\nmin_age = 0\nmin_free = 0\n')
    return root


@pytest.fixture
def answer(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the store and return its stdout."""
    assert root.is_dir()

    def ask(*args: str, code: int = 0) -> str:
        assert run(["--config", str(tmp_path / "config.toml"), *args]) == code
        return capsys.readouterr().out

    return ask


def listed(answer: Run) -> dict[str, bool]:
    """Return whether each entry is pinned, by key."""
    return {entry["key"]: entry["pinned"] for entry in json.loads(answer("ls", "--json"))}


def pruned(answer: Run, *args: str, code: int = 0) -> dict[str, Any]:
    report = json.loads(answer("prune", "--json", *args, code=code))
    assert isinstance(report, dict)
    return report


def test_a_pin_follows_the_newest_version(answer: Run, root: Path) -> None:
    assert answer("pin", "s:2") == "pinned  Artist - Title 2  s:2\n"
    with Store.open(root) as store:
        newest = put(store, "2", b"d", version=etag("3"))
    assert [key for key, pinned in listed(answer).items() if pinned] == [newest.key]
    assert answer("unpin", "s:2") == "unpinned  Artist - Title 2  s:2\n"
    assert not any(listed(answer).values())


def test_a_pin_of_a_version_stays_with_it(answer: Run, root: Path) -> None:
    with Store.open(root) as store:
        old = store.kept([Track("s", "2")])["s:2"][1]
    assert answer("pin", old.key) == f"pinned  Artist - Title 2  {old.key}\n"
    assert [key for key, pinned in listed(answer).items() if pinned] == [old.key]


@pytest.mark.parametrize("command", ["pin", "rm"])
def test_one_wrong_address_changes_nothing(answer: Run, command: str) -> None:
    before = listed(answer)
    answer(command, "s:1", "s:9", code=1)
    assert listed(answer) == before


def test_rm_removes_all_versions_of_a_track(answer: Run) -> None:
    lines = answer("rm", "s:2").splitlines()
    assert len(lines) == 2
    assert all(line.startswith("removed  Artist - Title 2  s:2@") and line.endswith("8.2 kB freed") for line in lines)
    assert [key.partition("@")[0] for key in listed(answer)] == ["s:1"]


def test_rm_removes_one_version_and_says_nothing_when_quiet(answer: Run, root: Path) -> None:
    with Store.open(root) as store:
        current, old = store.kept([Track("s", "2")])["s:2"]
    assert answer("-q", "rm", old.key) == ""
    assert current.key in listed(answer)
    assert old.key not in listed(answer)


def test_rm_leaves_what_a_running_export_needs(answer: Run, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(root) as store, store.run("export") as run_id:
        store.lease(run_id, [store.kept([Track("s", "1")])["s:1"][0].digest])
        assert run(["--root", str(root), "rm", "s:1"]) == 1
    assert capsys.readouterr().err.startswith("kept     Artist - Title 1  s:1@")
    assert len(listed(answer)) == 3


@pytest.mark.parametrize("address", ["s:1", "{key}"])
def test_rm_leaves_the_pin_of_what_it_leaves_and_takes_that_of_what_it_takes(
    answer: Run, root: Path, address: str
) -> None:
    with Store.open(root) as store, store.run("export") as run_id:
        [entry] = store.kept([Track("s", "1")])["s:1"]
        name = address.format(key=entry.key)
        answer("pin", name)
        store.lease(run_id, [entry.digest])
        answer("rm", name, code=1)
    assert listed(answer)[entry.key]
    answer("rm", name)
    with Store.open(root) as store:
        assert not put(store, "1", b"a" * 5000).pinned


def test_prune_within_the_bounds_does_nothing(answer: Run) -> None:
    assert answer("prune") == "removed 0 tracks, 0 B; then 24.6 kB of 20.0 GB used, 0 B held\n"


def test_prune_removes_the_least_recently_used_down_to_the_bound(answer: Run) -> None:
    report = pruned(answer, "--max-size", "20 kB")
    [victim] = report.pop("evicted")
    assert victim["key"].startswith("s:1@")
    assert victim["digest"].startswith("xxh3-128:")
    assert (victim["label"], victim["size"], victim["freed"], victim["reason"]) == (
        "Artist - Title 1",
        5000,
        8192,
        "max_size",
    )
    assert report == {
        "skipped": [],
        "freed_bytes": 8192,
        "partial_freed_bytes": 0,
        "quarantine_freed_bytes": 0,
        "held_bytes": 0,
        "exclusive_bytes": 16384,
        "logical_bytes": 15000,
        "stayed": {},
        "max_size": 20000,
        "dry_run": False,
    }
    assert len(listed(answer)) == 2


def test_a_dry_run_says_the_same_and_removes_nothing(answer: Run) -> None:
    foreseen = pruned(answer, "--max-size", "10 kB", "--dry-run")
    assert len(listed(answer)) == 3
    done = pruned(answer, "--max-size", "10 kB")
    assert (foreseen.pop("dry_run"), done.pop("dry_run")) == (True, False)
    assert foreseen == done


def test_a_dry_run_counts_what_a_killed_process_had_removed_and_not_yet_written(answer: Run, root: Path) -> None:
    with Store.open(root) as store:
        held, lost, pinned = (put(store, name, name.encode() * 9000) for name in "hlp")
        store.pin(Track("s", "p"), pinned=True)
        dest = root.parent / "bundle"
        dest.mkdir()
        store.link(held, dest / "1.wav", LinkMode.HARDLINK)
        store.register(Bundle(dest, "bundle", 0.0, (BundleFile("1.wav", held.digest, LinkMode.HARDLINK),)))
        (store.root.quarantine / "photo.jpg").write_bytes(b"?" * 9000)
        for entry in (held, lost, pinned):
            store.blobs.remove(entry.digest)
    foreseen, told = pruned(answer, "--max-size", "10 kB", "--dry-run", code=4), answer("prune", "--dry-run")
    done = pruned(answer, "--max-size", "10 kB", code=4)
    assert {**foreseen, "dry_run": False} == done
    assert (done["held_bytes"], done["exclusive_bytes"]) == (0, 0)
    assert told.splitlines()[-1].endswith("then 36.9 kB of 20.0 GB used, 0 B held")


def test_prune_says_what_quarantine_has_of_a_bound_that_cannot_be_reached(
    answer: Run, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "quarantine-v1" / "photos").mkdir()
    (root / "quarantine-v1" / "photos" / "1.jpg").write_bytes(b"?" * 9000)
    (root / "partials-v1" / "note").write_bytes(b"?" * 5000)
    others = "8.2 kB in unfinished downloads, 12.3 kB in quarantine (cachestore rm --quarantined); "
    for options, mine in (
        (["--dry-run"], "15.0 kB logical, 24.6 kB yours to free"),
        ([], "0 B logical, 24.6 kB freed"),
        ([], "0 B logical, 0 B freed"),
    ):
        assert run(["--config", str(root.parent / "config.toml"), "prune", "-q", "--max-size", "0", *options]) == 4
        assert f"{mine}, {others}" in capsys.readouterr().err
    told = "quarantine  12.3 kB, see ls --quarantined; after a day prune keeps 2.0 GB of it, and the newest"
    assert told in answer("info")


def test_prune_tells_how_much_of_quarantine_goes_for_want_of_room(answer: Run, root: Path) -> None:
    for number in (1, 2):
        (root / "quarantine-v1" / f"photo.jpg-{time.time_ns() - number * 3 * 86_400 * 10**9}").write_bytes(b"?" * 9000)
    with Store.open(root) as store:
        store.swept(time.time())
    foreseen = pruned(answer, "--max-size", "100 kB", "--dry-run")
    assert foreseen["quarantine_freed_bytes"] == 12_288
    assert ", and 12.3 kB of quarantine; then" in answer("prune", "--max-size", "100 kB", "--dry-run")
    assert pruned(answer, "--max-size", "100 kB")["quarantine_freed_bytes"] == 12_288


@pytest.mark.parametrize("is_killed", [False, True])
def test_prune_gives_up_what_is_unfinished_before_any_track_and_says_so(
    answer: Run, root: Path, *, is_killed: bool
) -> None:
    old, new = (kept(root / "partials-v1", bytes(9000), total=10_000, address=f"s:{name}") for name in "ab")
    age(old, time.time() - 86_400)
    if is_killed:
        old.rename(old.with_suffix(".work"))
    bound = ("--max-size", "45 kB")  # of 24.6 kB of tracks, and twice 16.4 kB
    foreseen = pruned(answer, *bound, "--dry-run")
    assert ", and 16.4 kB of unfinished downloads; then 41.0 kB of" in answer("prune", *bound, "--dry-run")
    done = pruned(answer, *bound)
    assert {**foreseen, "dry_run": False} == done
    assert (done["evicted"], done["partial_freed_bytes"]) == ([], 16_384)
    assert new.exists()
    assert len(list((root / "partials-v1").iterdir())) == 2
    assert len(listed(answer)) == 3


def test_prune_does_not_fail_for_what_is_unfinished(answer: Run, root: Path) -> None:
    kept(root / "partials-v1", bytes(50_000), total=100_000)
    assert pruned(answer, "--max-size", "30 kB", "--dry-run")["evicted"] == []
    assert pruned(answer, "--max-size", "30 kB")["evicted"] == []


def test_prune_leaves_what_a_living_fetch_may_go_on_with(answer: Run, root: Path) -> None:
    path = killed(root / "partials-v1", bytes(50_000), total=100_000)
    with Store.open(root) as store, store.run("fetch"):
        age(path, time.time() - 1000)
        assert pruned(answer, "--max-size", "60 kB", "--dry-run")["partial_freed_bytes"] == 0
        assert pruned(answer, "--max-size", "60 kB")["partial_freed_bytes"] == 0
    assert path.exists()


def test_prune_leaves_what_was_just_written_where_nobody_seems_to_live(
    answer: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where everybody gets a lock, a download may be under way all the same."""
    monkeypatch.setattr("fcntl.flock", lambda *_: None)
    paths = [killed(root / "partials-v1", bytes(50_000), total=100_000, locked=locked) for locked in (True, False)]
    assert pruned(answer, "--max-size", "120 kB")["partial_freed_bytes"] == 0
    assert all(path.exists() for path in paths)


def test_prune_gives_up_what_a_dead_run_had_claimed_under_a_lock_whoever_lives(answer: Run, root: Path) -> None:
    killed(root / "partials-v1", bytes(50_000), total=100_000, locked=True)
    (root / "partials-v1" / f"{track_name(TRACK)}.lock").touch()
    with Store.open(root) as store, store.run("fetch"):
        foreseen = pruned(answer, "--max-size", "60 kB", "--dry-run")
        assert foreseen["partial_freed_bytes"] == 57_344
        assert {**foreseen, "dry_run": False} == pruned(answer, "--max-size", "60 kB")
        lock = DownloadLock.acquire(root / "partials-v1", TRACK)
        assert lock is not None
        path = killed(root / "partials-v1", bytes(50_000), total=100_000, locked=True)
        assert pruned(answer, "--max-size", "60 kB", "--dry-run")["partial_freed_bytes"] == 0
        assert pruned(answer, "--max-size", "60 kB")["partial_freed_bytes"] == 0
        lock.release()
    assert path.exists()


def test_prune_tells_a_person_what_went_and_why(answer: Run) -> None:
    lines = answer("prune", "--max-size", "20 kB").splitlines()
    assert lines[0].split() == ["TRACK", "ADDRESS", "FREED", "LAST", "USE", "WHY"]
    assert lines[1].startswith("Artist - Title 1  s:1@")
    assert lines[1].endswith("8.2 kB  just now  max_size")
    assert lines[2] == "removed 1 track, 8.2 kB; then 16.4 kB of 20.0 kB used, 0 B held"
    assert (
        answer("prune", "--dry-run", "--max-size", "10 kB").splitlines()[-1].startswith("would remove 1 track, 8.2 kB")
    )


def test_prune_by_age_removes_what_was_not_used(answer: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pruned(answer, "--max-age", "1 h")["evicted"] == []
    later = time.time() + 8 * 86400
    monkeypatch.setattr("cachestore.cli.prune.time.time", lambda: later)
    assert pruned(answer, "--max-age", "1 h", "--dry-run")["evicted"] == []
    said = answer("prune", "--max-age", "1 h").splitlines()
    assert said[-1] == (
        "max_age was judged as of the last prune or export, 8 d ago: what is too old since, the next one removes"
    )
    assert len(listed(answer)) == 3
    assert {victim["reason"] for victim in pruned(answer, "--max-age", "1 h")["evicted"]} == {"max_age"}
    assert listed(answer) == {}


@pytest.mark.parametrize(("dry", "mine"), [([], "freed"), (["--dry-run"], "yours to free")])
def test_a_bound_that_cannot_be_reached_is_exit_4(
    answer: Run, root: Path, capsys: pytest.CaptureFixture[str], dry: list[str], mine: str
) -> None:
    answer("pin", "s:1")
    assert run(["--root", str(root), "prune", "-q", "--max-size", "0", "--min-free", "0", *dry]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"cachestore: max_size cannot be reached, 24576 bytes are missing: 15.0 kB logical, 0 B {mine}, "
        "16.4 kB younger than min_age, 8.2 kB pinned; unpin tracks, delete bundles or change the bound\n"
    )


def test_what_stays_against_a_wish_is_in_the_report(answer: Run) -> None:
    answer("pin", "s:1")
    for dry in ([], ["--dry-run"]):
        assert pruned(answer, "--max-size", "0", *dry, code=4)["stayed"] == {"pinned": 8192}


def test_a_disk_that_others_filled_is_exit_4(answer: Run) -> None:
    report = pruned(answer, "--min-free", "1000000 TB", code=4)
    assert {victim["reason"] for victim in report["evicted"]} == {"min_free"}


def test_a_report_that_ends_too_early_is_whole_and_says_what_was_done(
    answer: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evict = Store.evict

    def fail_at_the_second(store: Store, keys: list[str], *rest: object) -> object:
        if listed_in(store) < 3:
            raise NoSpace(root)
        return evict(store, keys[:1], *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("cachestore.prune.applying.batches", lambda items: ([item] for item in items))
    monkeypatch.setattr(Store, "evict", fail_at_the_second)
    report = pruned(answer, "--max-size", "0", code=4)
    assert [victim["key"].partition("@")[0] for victim in report["evicted"]] == ["s:1"]
    assert report["exclusive_bytes"] == 16384


def listed_in(store: Store) -> int:
    return len(list(store.entries()))


def test_quarantine_is_listed_with_the_time_since_when(answer: Run, root: Path) -> None:
    assert answer("ls", "--quarantined") == ""
    (root / "blobs-v1" / "photo.jpg").write_bytes(b"mine")
    with Store.open(root) as store:
        store.quarantine_file(root / "blobs-v1" / "photo.jpg")
    [path] = (root / "quarantine-v1").iterdir()
    [file] = json.loads(answer("ls", "--quarantined", "--json"))
    assert file.pop("quarantined_at").endswith("Z")
    assert file == {"path": str(path), "size": 4}
    assert str(path) in answer("ls", "--quarantined", "PHOTO")
    assert json.loads(answer("ls", "--quarantined", "--json", "absent")) == []


def test_what_stays_in_quarantine_is_named_and_makes_rm_fail(
    answer: Run, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fixed", "plain"):
        (root / "quarantine-v1" / f"{name}-{1:019}").write_bytes(b"?" * 5000)
    fixed, unlink = root / "quarantine-v1" / f"fixed-{1:019}", Path.unlink

    def refused(path: Path, *, missing_ok: bool = False) -> None:
        if path == fixed:  # as a file with the attribute "immutable"
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as refusing:
        refusing.setattr(Path, "unlink", refused)
        assert run(["--root", str(root), "rm", "--quarantined"]) == 1
    said = capsys.readouterr()
    assert said.err == f"kept     {fixed}: Operation not permitted\n"
    assert said.out == f"removed  {root / 'quarantine-v1' / f'plain-{1:019}'}  8.2 kB freed\n"
    assert list((root / "quarantine-v1").iterdir()) == [fixed]
    assert answer("rm", "--quarantined") == f"removed  {fixed}  8.2 kB freed\n"


# --- one prune at a time


@pytest.fixture
def another_prune(root: Path) -> Iterator[PruneLock]:
    """Be another process that prunes, as far as the lock says."""
    lock = PruneLock.acquire(create_root(root).runs)
    assert lock is not None
    yield lock
    lock.release()


def test_a_prune_that_is_not_to_wait_is_busy(
    answer: Run, root: Path, another_prune: PruneLock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["--root", str(root), "prune", "--no-wait", "--max-size", "0"]) == 75
    assert (
        capsys.readouterr().err
        == "cachestore: pruning this store is busy with another command; try again in a moment\n"
    )
    assert len(listed(answer)) == 3
    another_prune.release()
    assert answer("prune", "--no-wait").startswith("removed 0 tracks")


def test_a_dry_run_waits_for_nobody(answer: Run, another_prune: PruneLock) -> None:
    assert answer("prune", "--dry-run").startswith("would remove 0 tracks")


TELLING_THAT_IT_WAITS = """
import sys
from cachestore import runs
from cachestore.cli.main import run
locked = runs._locked
def told(path, given_up=None):
    return locked(path, (lambda: print("waits", flush=True) or given_up()) if given_up else None)
runs._locked = told
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_waiting_for_another_prune_ends_with_a_signal(
    root: Path, another_prune: PruneLock, number: int, code: int
) -> None:
    command = [sys.executable, "-c", TELLING_THAT_IT_WAITS, "--root", str(root), "prune"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "waits\n"
        waiting.send_signal(number)
        _, err = waiting.communicate(timeout=3)
    assert waiting.returncode == code
    assert err == "cachestore: cancelled; what was finished stays in the cache\n"


def test_the_end_of_an_export_leaves_the_bound_to_a_running_prune(root: Path, another_prune: PruneLock) -> None:
    config = Config(root=root, max_size=0, min_free=0)
    with Cache.open(config=config) as cache:
        cache.enforce_bound()
        assert len(list(cache.store.entries())) == 3
        another_prune.release()
        cache.enforce_bound()
        assert list(cache.store.entries()) == []


def test_at_the_end_of_an_export_quarantine_starves_no_track(root: Path) -> None:
    days_ago = time.time_ns() - 3 * 86_400 * 10**9
    for number in range(3):
        (root / "quarantine-v1" / f"photo.jpg-{days_ago + number}").write_bytes(b"?" * 50_000)
    with Cache.open(config=Config(root=root, max_size=100_000, min_free=0)) as cache:
        cache.store.export_ended(time.time() - 100_000)
        cache.enforce_bound()
        assert len(list(cache.store.entries())) == 3
        assert [path.name for path in (root / "quarantine-v1").iterdir()] == [f"photo.jpg-{days_ago + 2}"]


def test_the_end_of_an_export_leaves_an_edit_that_it_found_in_quarantine(root: Path) -> None:
    with Cache.open(config=Config(root=root, max_size=100_000, min_free=0)) as cache:
        entry = next(iter(cache.store.entries()))
        blob = cache.store.blobs.path(entry.digest)
        blob.chmod(0o644)
        blob.write_bytes(b"my work" * 9000)
        kept = cache.store.retire(entry.digest).quarantined
        cache.enforce_bound()
        assert kept is not None
        assert kept.read_bytes() == b"my work" * 9000


@pytest.mark.parametrize("offset", [0, 20_000, 40_000], ids=["the head", "a page", "a later page"])
def test_an_index_that_cannot_be_read_is_set_aside_by_repair(tmp_path: Path, offset: int) -> None:
    with Store.open(tmp_path / "root") as store:
        store.put([incoming(store, f"t{number}", f"{number}".encode()) for number in range(300)])
    database = tmp_path / "root" / "index-v1" / "cache.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(database.read_bytes())
    data[offset : offset + 9000] = b"\xa5" * 9000
    database.write_bytes(data)
    assert run(["--root", str(tmp_path / "root"), "verify"]) == 1
    assert run(["--root", str(tmp_path / "root"), "repair"]) == 0
    assert run(["--root", str(tmp_path / "root"), "verify"]) == 0
    with Store.open(tmp_path / "root") as store:
        assert put(store, "t1", b"1").size == 1
        assert len(list(store.blobs.iterate())) == 300

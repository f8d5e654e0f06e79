"""A bundle against whatever its user does to it: each export does what its plan says, and loses nothing of his."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cachestore.cache import Cache
from cachestore.config import Config
from cachestore.errors import CacheStoreError
from cachestore.events import TrackEvent, WarningEvent
from exporter_plugin.export import export_mix
from exporter_plugin.mix import read_mix
from exporter_plugin.naming import fold
from exporter_plugin.options import Options
from exporter_plugin.outcome import ExportFailed
from exporter_plugin.plan import Plan, plan_export
from tests.downloads import wave
from tests.stores import put
from tests.tries import tries

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_plugin.outcome import Report
    from exporter_plugin.row import Mix

    Files = dict[str, tuple[bytes, int, int]]

T = TypeVar("T")

TITLES = [
    "A",
    "a",
    "Caf\u00e9",
    "Cafe\u0301",
    "CAF\u00c9",
    "Stra\u00dfe",
    "STRASSE",
    "",
    "x" * 300,
    "CON",
    "..",
    "A [%s]",
]
CLOUD = st.builds(
    lambda number, title: {"source": "s", "id": f"t{number}", "title": title},
    st.sampled_from([0, 1, 2, 3, 0, 1, 2, 3, 4]),
    st.sampled_from(TITLES),
)
LOCAL = st.builds(
    lambda number, title: {"path": f"{number}.wav", "title": title}, st.integers(0, 1), st.sampled_from(TITLES)
)
ROWS = st.lists(CLOUD | LOCAL, min_size=1, max_size=5)
OPTIONS = st.builds(
    Options,
    link_mode=st.sampled_from([None, "copy", "hardlink"]),
    template=st.sampled_from([None, "{title}", "{index}", "{artist} - {title}", "{id}"]),
    on_error=st.sampled_from(["fail", "skip"]),
    renumber=st.booleans(),
    overwrite_edited=st.sampled_from([False, False, True]),
    formats=st.sampled_from([(), ("rpp",), ("dawproject",)]),
    offline=st.just(True),
)  # fmt: skip
NAMES = st.sampled_from(["A", "a", "01 - A", "02 - a", "Caf\u00e9", "1", "2"])


class BundleMachine(RuleBasedStateMachine):
    """`edited` is what the user wrote into files of the bundle, `foreign` what he put beside them."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.dest = self.home / "Friday"
        self.config = Config(root=self.home / "store", min_free=0)
        self.edited: dict[str, bytes] = {}
        self.foreign: dict[str, bytes] = {}
        self.written = 0
        self.rows: list[dict[str, Any]] = []
        self.is_damaged = False
        self.bodies = {
            f"t{number}": wave(3000, number % 3) for number in range(4)
        }  # two tracks are equal, t4 is nowhere
        for number in range(2):
            (self.home / f"{number}.wav").write_bytes(wave(2000, number))
        self.heal()

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    @rule(rows=ROWS, options=OPTIONS, start=st.booleans())
    def export_another(self, rows: list[dict[str, Any]], options: Options, start: bool) -> None:
        self.export(rows, options, start)

    @rule(row=CLOUD | LOCAL, options=OPTIONS, restoring=st.booleans(), data=st.data())
    def export_with_other_row(
        self, row: dict[str, Any], options: Options, restoring: bool, data: st.DataObject
    ) -> None:
        """Export once more, after one file was edited perhaps, with another row in the place of one."""
        if restoring and self.recorded() & self.files().keys():
            self.edit(data, restoring=True, saving=True)
        self.export([row, *self.rows[1:]], options, start=False)

    def export(self, rows: list[dict[str, Any]], options: Options, start: bool) -> None:
        self.rows = rows
        (self.home / "mix.json").write_text(
            json.dumps({"name": "Friday", "tracks": [row | {"start": 2} if start else row for row in rows]})
        )
        mix, before = read_mix(self.home / "mix.json"), self.files()
        plan = outcome_of(lambda: plan_export(mix, self.dest, options, config=self.config))
        assert self.files() == before
        told: list[TrackEvent | WarningEvent] = []
        report = outcome_of(lambda: self.exported(mix, options, told))
        ends = [event.index for event in told if isinstance(event, TrackEvent) and event.state.terminal]
        assert sorted(ends) in ([], list(range(len(rows))))
        if isinstance(report, CacheStoreError):
            assert self.files() == before
            assert self.is_damaged or (
                exit_code(plan) == 1 if isinstance(report, ExportFailed) else str(plan) == str(report)
            )
            return
        if options.overwrite_edited:
            self.edited = {file: data for file, data in self.edited.items() if self.is_there(file, data)}
        self.check_bundle(mix)
        if not self.is_damaged:
            assert exit_code(plan) == report.exit_code
            self.check_plan(plan, before, told)
        stamps = self.stamps()
        self.exported(mix, options, [])
        assert options.overwrite_edited or self.stamps() == stamps

    def exported(self, mix: Mix, options: Options, told: list[Any]) -> Report:
        with Cache.open(self.config) as cache:
            return export_mix(mix, self.dest, options, cache=cache, on_event=told.append)

    def check_bundle(self, mix: Mix) -> None:
        """Find each file where bundle.json and the playlist say, with the bytes of its track, unless it was edited."""
        bundle = json.loads((self.dest / "bundle.json").read_text())
        own = [file["file"] for file in bundle["files"]]
        assert bundle["finished"]
        assert all((self.dest / file).is_file() for file in own)
        assert len({fold(file) for file in own}) == len(own)
        for row, track in zip(mix.rows, bundle["tracks"], strict=True):
            if track["status"] == "done" and track["file"] not in self.edited:
                body = row.path.read_bytes() if row.path else self.bodies[row.track.id]
                assert (self.dest / track["file"]).read_bytes() == body
        playlist = next(file for file in own if file.endswith(".m3u8"))
        if playlist not in self.edited:
            lines = (self.dest / playlist).read_text().splitlines()
            assert all((self.dest / line).is_file() for line in lines if line and not line.startswith("#"))
        assert self.files().keys() - {"bundle.json"} - self.foreign.keys() <= {*own, *self.edited}

    def check_plan(self, plan: Plan | CacheStoreError, before: Files, told: list[Any]) -> None:
        """Find that the plan has said of each file what became of it."""
        assert isinstance(plan, Plan)
        after = self.files()
        done = {
            file: "add" if file not in before else "remove" if file not in after else change(before[file], after[file])
            for file in {*before, *after} - {"bundle.json"}
        }
        said = {file.file: str(file.action) for file in plan.files}
        assert len(said) == len(plan.files)
        assert {file: action.replace("edited", "keep") for file, action in said.items()} == {
            file: action for file, action in done.items() if file in said or action != "keep"
        }
        edits = [event for event in told if isinstance(event, WarningEvent) and event.code == "edited_file_kept"]
        assert list(said.values()).count("edited") == len(edits)

    @rule(data=st.data(), restoring=st.booleans(), saving=st.booleans())
    def edit(self, data: st.DataObject, restoring: bool, saving: bool) -> None:
        """Write into a file, or put another one in its place, and perhaps put size and times back."""
        if not (file := self.own_file(data)):
            return
        path = self.dest / file
        info, body = path.stat(), self.something()
        restoring = restoring and info.st_nlink > 1  # of what was a copy nobody would know, as documented
        body = body.ljust(info.st_size, b".") if restoring else body
        if saving:
            (self.dest / "new").write_bytes(body)
            (self.dest / "new").replace(path)
        else:
            self.is_damaged |= info.st_nlink > 1
            shared = [other for other in self.files() if path.samefile(self.dest / other)]
            path.chmod(0o644)
            path.write_bytes(body)
            self.edited |= dict.fromkeys(shared, body)
        self.edited[file] = body
        if restoring:
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if file := self.own_file(data):
            (self.dest / file).unlink()
            self.edited.pop(file, None)

    @precondition(lambda self: self.dest.exists())
    @rule(name=NAMES, suffix=st.sampled_from([".wav", ".wav.asd"]))
    def put_beside(self, name: str, suffix: str) -> None:
        file = f"media/{name}{suffix}"
        if file in self.recorded():
            return
        self.foreign[file] = self.something()
        (self.dest / file).parent.mkdir(exist_ok=True)
        (self.dest / file).write_bytes(self.foreign[file])

    @precondition(lambda self: self.foreign)
    @rule(data=st.data())
    def take_away(self, data: st.DataObject) -> None:
        file = data.draw(st.sampled_from(sorted(self.foreign)))
        del self.foreign[file]
        (self.dest / file).unlink()

    @precondition(lambda self: self.dest.exists())
    @rule(name=st.sampled_from(["Friday", "Saturday"]))
    def move(self, name: str) -> None:
        if not self.dest.with_name(name).exists():
            self.dest = self.dest.rename(self.dest.with_name(name))

    @rule()
    def heal(self) -> None:
        """Let the cache have all bytes once more, as downloads do."""
        with Cache.open(self.config) as cache:
            for track, body in self.bodies.items():
                put(cache.store, track, body)
        self.is_damaged = False

    @rule()
    def lose_the_store(self) -> None:
        shutil.rmtree(self.config.root)
        self.heal()

    @invariant()
    def nothing_is_lost(self) -> None:
        for file, body in (self.edited | self.foreign).items():
            assert (self.dest / file).read_bytes() == body

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert [path for path in self.home.rglob("*") if ".cachestore-" in path.name] == []

    def own_file(self, data: st.DataObject) -> str:
        files = sorted(self.recorded() & self.files().keys())
        return data.draw(st.sampled_from(files)) if files else ""

    def recorded(self) -> set[str]:
        record = self.dest / "bundle.json"
        return {file["file"] for file in json.loads(record.read_text())["files"]} if record.exists() else set()

    def something(self) -> bytes:
        self.written += 1
        return b"the user's %d" % self.written

    def is_there(self, file: str, data: bytes) -> bool:
        return (self.dest / file).is_file() and (self.dest / file).read_bytes() == data

    def files(self) -> Files:
        paths = [path for path in sorted(self.dest.rglob("*")) if path.is_file()]
        infos = {path: path.stat() for path in paths}
        return {
            path.relative_to(self.dest).as_posix(): (path.read_bytes(), info.st_ino, info.st_mtime_ns)
            for path, info in infos.items()
        }

    def stamps(self) -> dict[Path, tuple[int, int]]:
        infos = {path: path.stat() for path in (self.dest, *self.dest.rglob("*"))}
        return {path: (info.st_ino, info.st_mtime_ns) for path, info in infos.items()}


def outcome_of(do: Callable[[], T]) -> T | CacheStoreError:
    try:
        return do()
    except CacheStoreError as error:
        return error


def exit_code(plan: Plan | CacheStoreError) -> int:
    assert isinstance(plan, Plan), plan
    return plan.exit_code


def change(before: object, after: object) -> str:
    return "keep" if before == after else "replace"


@pytest.mark.long
def test_a_bundle_loses_nothing_of_its_user_and_becomes_what_its_plan_says() -> None:
    run_state_machine_as_test(BundleMachine, settings=tries(40, 300, steps=30))

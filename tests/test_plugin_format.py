"""The format of docs/formats.md as a package of somebody else, others that fail, and which formats are chosen."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packages import blocks, build_wheel, install
from tests.stranger import manifest, row, snapshot

if TYPE_CHECKING:
    from tests.servers import Nginx
    from tests.stranger import Stranger

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
HEADING = "A project of your own"
BROKEN = """
import os, signal, sys
def half(view):
    raise RuntimeError("no more")
def lines(view):
    raise RuntimeError("line\\n\\x1b[31mbreak")
def leave(view):
    sys.exit(7)
def nothing(view):
    pass
def listed(view):
    return [("x.txt", b"")]
def text(view):
    return {"good.txt": b"", "x.txt": "text"}
def numbered(view):
    return {1: b""}
def folder(view):
    return {"x/y.txt": b""}
def twice(view):
    return {"x.txt": b"", "X.TXT": b""}
def manifest(view):
    return {"Bundle.JSON": b"{}"}
def media(view):
    return {"media": b""}
def playlist(view):
    return {f"{view.stem.upper()}.M3U8": b"mine"}
def unsafe(view):
    return {"a:b?.txt": b""}
def hidden(view):
    return {".x.txt": b""}
def bytes(view):
    return {os.fsdecode(b"caf\\xe9.txt"): b""}
def full(view):
    raise OSError(28, "No space left on device")
def wrong(view):
    pass
wrong.applies = lambda view: 1 / 0
def moody(view):
    if len(view.outcomes) > 1:
        raise RuntimeError("moody")
    return {"mood.txt": b"good"}
moody.applies = lambda view: False
def deadly(view):
    os.kill(os.getpid(), signal.SIGKILL)
deadly.applies = lambda view: False
"""
LEAVING = "raise SystemExit(9)\n"
NO_NAME = "is no name that every filesystem has; expected one such as view.stem"
TAKEN = "is taken; expected a name that nothing else in the bundle has"
FAILURES = {
    "half": "RuntimeError: no more",
    "lines": "RuntimeError: line [31mbreak",
    "leave": "SystemExit: 7",
    "nothing": "FormatMisuse: it returned NoneType; expected the bytes of files by their names",
    "listed": "FormatMisuse: it returned list; expected the bytes of files by their names",
    "text": "FormatMisuse: 'x.txt' is str; expected bytes",
    "numbered": f"FormatMisuse: 1 {NO_NAME}",
    "folder": f"FormatMisuse: 'x/y.txt' {NO_NAME}",
    "twice": f"FormatMisuse: 'X.TXT' {TAKEN}",
    "manifest": f"FormatMisuse: 'Bundle.JSON' {TAKEN}",
    "media": f"FormatMisuse: 'media' {TAKEN}",
    "playlist": f"FormatMisuse: 'FRIDAY WARM-UP.M3U8' {TAKEN}",
    "unsafe": f"FormatMisuse: 'a:b?.txt' {NO_NAME}",
    "hidden": f"FormatMisuse: '.x.txt' {NO_NAME}",
    "bytes": f"FormatMisuse: 'caf\\udce9.txt' {NO_NAME}",
    "full": "OSError: [Errno 28] No space left on device",
    "wrong": "ZeroDivisionError: division by zero",
    "gone": "AttributeError: ",
    "leaving": "SystemExit: 9",
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    [module], [points] = blocks(PAGE, HEADING, "python"), blocks(PAGE, HEADING, "toml")
    broken = {name: f"my_broken:{name}" for name in FAILURES} | {
        "moody": "my_broken:moody",
        "deadly": "my_broken:deadly",
        "leaving": "my_leaving:write",
        "rpp": "my_broken:half",
    }
    sources = {"my_lof.py": module, "my_broken.py": BROKEN, "my_leaving.py": LEAVING}
    folder, files = tmp_path_factory.mktemp("wheel"), sources
    return install(build_wheel(folder, files, points, {"exporter_plugin.bundle_formats": broken}), folder / "installed")


@pytest.fixture
def producer(stranger: Stranger, cloud: Nginx) -> Stranger:
    return stranger


def files(producer: Stranger) -> list[str]:
    return sorted(path.name for path in (producer.home / "DEST").iterdir() if path.is_file())


def on_timeline(producer: Stranger) -> str:
    rows = [row("t-flac"), row("t-wav"), row("t-none")]
    return producer.mix(*({**each, "start": number / 2} for number, each in enumerate(rows)))


def test_projects_are_written_when_the_mix_has_places(producer: Stranger) -> None:
    mix = on_timeline(producer)
    producer.run("export", mix, "DEST", "--on-error", "skip", code=3)
    before = snapshot(producer.home / "DEST")
    assert files(producer) == ["Friday Warm-up.dawproject", "Friday Warm-up.m3u8", "Friday Warm-up.rpp", "bundle.json"]
    assert "#EXTINF:1,t-flac" in (producer.home / "DEST" / "Friday Warm-up.m3u8").read_text()
    assert 'MARKER 1 1 "MISSING: t-none' in (producer.home / "DEST" / "Friday Warm-up.rpp").read_text()
    producer.run("export", mix, "DEST", "--on-error", "skip", code=3)
    assert snapshot(producer.home / "DEST") == before


def test_a_mix_without_places_has_a_playlist_only_unless_a_project_is_asked_for(producer: Stranger) -> None:
    producer.export(row("t-flac"), row("t-wav"))
    assert files(producer) == ["Friday Warm-up.m3u8", "bundle.json"]
    producer.export(row("t-flac"), row("t-wav"), options=("--format", "rpp"))
    assert files(producer) == ["Friday Warm-up.m3u8", "Friday Warm-up.rpp", "bundle.json"]
    assert "POSITION 1\n" in (producer.home / "DEST" / "Friday Warm-up.rpp").read_text()


def test_one_format_is_chosen(producer: Stranger) -> None:
    producer.run("export", on_timeline(producer), "DEST", "--on-error", "skip", "--format", "dawproject", code=3)
    assert files(producer) == ["Friday Warm-up.dawproject", "Friday Warm-up.m3u8", "bundle.json"]


def test_an_unknown_format_is_one_sentence_before_anything_is_done(producer: Stranger, cloud: Nginx) -> None:
    ran = producer.export(row("t-flac"), options=("--format", "als", "--format", "rpp"), code=2)
    assert ran.sentence == "cachestore: there is no format 'als'; expected dawproject or rpp"
    assert cloud.requests() == []


def test_the_command_to_run_again_has_the_formats(producer: Stranger) -> None:
    ran = producer.export(row("t-none"), options=("--format", "rpp", "--format", "dawproject"), code=1)
    assert ran.err.splitlines()[-1].endswith(
        "--format rpp --format dawproject mix.json DEST".replace("mix.json", producer.mix(row("t-none")))
    )


def test_the_format_of_the_page_is_written(producer: Stranger, installed: Path) -> None:
    producer.environment["PYTHONPATH"] = str(installed)
    producer.run("export", on_timeline(producer), "DEST", "--on-error", "skip", "--format", "lof", code=3)
    written = (producer.home / "DEST" / "Friday Warm-up.lof").read_text()
    assert "good.txt" not in files(producer)
    assert written == 'file "media/01 - t-flac.flac" offset 0\nfile "media/02 - t-wav.wav" offset 0.5\n'
    del producer.environment["PYTHONPATH"]
    producer.export(row("t-flac"))
    assert "Friday Warm-up.lof" not in files(producer)


def test_nobody_takes_a_format_of_ours_over(producer: Stranger, installed: Path) -> None:
    producer.environment["PYTHONPATH"] = str(installed)
    ran = producer.export(row("t-flac"), options=("--format", "rpp"))
    assert "could be written" not in ran.err
    assert (producer.home / "DEST" / "Friday Warm-up.rpp").read_text().startswith("<REAPER_PROJECT")


def assert_all_are_told(err: str) -> None:
    told = [line for line in err.splitlines() if "file could be written" in line]
    assert len(told) == len(FAILURES)
    for name, reason in FAILURES.items():
        assert any(f"warning: no {name} file could be written ({reason}" in line for line in told), name


def test_a_format_that_fails_costs_a_warning_and_leaves_nothing(producer: Stranger, installed: Path) -> None:
    producer.environment["PYTHONPATH"] = str(installed)
    assert_all_are_told(producer.export(row("t-flac"), options=("--dry-run",)).err)
    assert_all_are_told(producer.export(row("t-flac")).err)
    assert files(producer) == ["Friday Warm-up.m3u8", "bundle.json"]
    before = snapshot(producer.home / "DEST")
    producer.export(row("t-flac"))
    assert snapshot(producer.home / "DEST") == before
    assert "#EXTM3U" in (producer.home / "DEST" / "Friday Warm-up.m3u8").read_text()
    del producer.environment["PYTHONPATH"]
    producer.export(row("t-flac"), row("t-wav"))


def test_what_a_format_wrote_that_fails_now_stays(producer: Stranger, installed: Path) -> None:
    """This one fails with anything but one track; without a warning there is no reason to keep its file."""
    producer.environment["PYTHONPATH"] = str(installed)
    options = ("--format", "moody", "--format", "rpp")
    producer.export(row("t-flac"), options=options)
    dest = producer.home / "DEST"
    written = (dest / "mood.txt").read_bytes()
    rows = (row("t-flac"), row("t-wav"))
    planned = producer.export(*rows, options=(*options, "--dry-run", "--json")).facts
    assert {"mood.txt": "keep"}.items() <= {file["file"]: file["action"] for file in planned["files"]}.items()
    for _ in range(2):
        assert "no moody file could be written (RuntimeError: moody)" in producer.export(*rows, options=options).err
        assert (dest / "mood.txt").read_bytes() == written
        assert manifest(dest)["finished"]
    producer.export(*rows, options=("--format", "moody"))
    assert files(producer) == ["Friday Warm-up.m3u8", "bundle.json", "mood.txt"]  # nobody wants that of rpp
    producer.export(*rows, options=("--format", "rpp"))
    assert files(producer) == ["Friday Warm-up.m3u8", "Friday Warm-up.rpp", "bundle.json"]


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_who_is_killed_while_a_format_is_made_leaves_nothing_for_good(
    producer: Stranger, installed: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    aside = tmp_path / "tmp"
    aside.mkdir()
    producer.environment |= {"PYTHONPATH": str(installed), "TMPDIR": str(aside)}
    producer.export(row("t-flac"), options=(*options, "--format", "deadly"), code=-signal.SIGKILL)
    assert list(aside.iterdir()) == []
    producer.export(row("t-flac"), options=("--format", "rpp"))
    assert not [path for path in producer.home.iterdir() if "cachestore-" in path.name]

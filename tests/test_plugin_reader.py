"""The reader of docs/formats.md, as a package of somebody else: built, installed, and given a mix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packages import blocks, build_wheel, install

if TYPE_CHECKING:
    from tests.servers import Nginx
    from tests.stranger import Stranger

PAGE = Path(__file__).parent.parent / "docs" / "formats.md"
BROKEN = """
def crash(document):
    raise RuntimeError(f"cannot read {document.name}")
def nothing(document):
    return None
def early(document):
    from cachestore import Track
    from exporter_plugin import Mix, Row
    return Mix(document.name, (Row(Track("s", "1"), start=-5.0),))
def empty(document):
    from exporter_plugin import Mix
    return Mix(document.name, ())
def leave(document):
    raise SystemExit(9)
def shadow(document):
    raise AssertionError("our own format was taken over")
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed in."""
    [module] = blocks(PAGE, "A format of your own", "python")
    [points] = blocks(PAGE, "A format of your own", "toml")
    others = {name: f"my_broken:{name}" for name in ("crash", "nothing", "leave", "early", "empty")}
    broken = {**others, "gone": "my_broken:gone", "json": "my_broken:shadow", "xspf": "my_broken:shadow"}
    folder, files = tmp_path_factory.mktemp("wheel"), {"my_setlist.py": module, "my_broken.py": BROKEN}
    return install(build_wheel(folder, files, points, {"exporter_plugin.mix_readers": broken}), folder / "installed")


@pytest.fixture
def listener(stranger: Stranger, cloud: Nginx, installed: Path) -> Stranger:
    stranger.environment["PYTHONPATH"] = str(installed)
    return stranger


def export(listener: Stranger, name: str, text: str, *, code: int = 0) -> str:
    (listener.home / name).write_text(text)
    return listener.run("export", name, "DEST", "--quiet", code=code).err.strip()


def test_the_reader_of_the_page_makes_a_bundle(listener: Stranger, music: Path) -> None:
    (listener.home / "Intro.wav").write_bytes((music / "t-wav").read_bytes())
    export(listener, "Friday.setlist", "0 Intro.wav\n1 t-flac\n")
    assert [path.suffix for path in listener.media()] == [".wav", ".flac"]
    assert (listener.home / "DEST" / "Friday.m3u8").exists()


def test_its_errors_name_the_file_and_the_place(listener: Stranger) -> None:
    sentence = export(listener, "Friday.setlist", "0 Intro.wav\nsoon t-flac\n", code=2)
    expected = "'soon t-flac' is no track; expected SECONDS WHERE"
    assert sentence == f"cachestore: Friday.setlist, line 2: {expected}"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("crash", "failed (RuntimeError: cannot read x); update or remove it"),
        ("leave", "failed (SystemExit: 9); update or remove it"),
        ("nothing", "found no track in it; expected at least one"),
        ("gone", "failed (AttributeError: module 'my_broken' has no attribute 'gone'); update or remove it"),
    ],
)
def test_a_reader_that_fails_is_named_in_one_sentence(listener: Stranger, name: str, problem: str) -> None:
    sentence = export(listener, f"x.{name}", "anything", code=2)
    assert sentence == f"cachestore: x.{name}: the reader {name} (my_broken:{name}) {problem}"
    assert not (listener.home / "DEST").exists()


def test_what_no_mix_may_have_is_told_of_the_file(listener: Stranger) -> None:
    told = {"early": ', track 1: "start" is -5; expected seconds', "empty": ": it has no track; expected at least one"}
    for name, problem in told.items():
        assert export(listener, f"x.{name}", "anything", code=2).startswith(f"cachestore: x.{name}{problem}")
    assert not (listener.home / "DEST").exists()


def test_nobody_takes_a_format_of_ours_over(listener: Stranger) -> None:
    export(listener, "x.json", '{"tracks": [{"source": "open", "id": "t-flac"}]}')
    assert [path.suffix for path in listener.media()] == [".flac"]

"""The pages and the help say what is there, and the examples of the pages are run: what they show is what happens."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from dataclasses import fields
from inspect import getmembers, isclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from cachestore import Cache, Config, SourceConfig, SourceError, Track, errors, load_config
from cachestore.cli.context import global_options
from cachestore.cli.main import cli
from cachestore.config import default_config_path
from cachestore.media import MEDIA_TYPES
from cachestore.sources.registry import Sources
from cachestore.web import open_web
from exporter_plugin import Options, export_mix
from exporter_plugin.demo.audio import CLOUD, LOCAL, render
from exporter_plugin.demo.origin import MusicOrigin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.library import Sample

HOUSE = Path(__file__).parent.parent
# A transcript in the README is a block
#     ```console
#     $ cachestore demo
#     what it prints, where ... stands for any text, and a line of its own for any lines
#     ```
# The commands of a block run one after the other in an empty HOME, which is also the current folder.
TRANSCRIPT = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")
CODES = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (HOUSE / "docs").glob("*.md"))]
TOKEN = "tok-5e0b"


def page(name: str) -> str:
    path = HOUSE / name
    assert path.exists(), f"{name} is not written"
    return path.read_text()


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def options(command: click.Command) -> set[str]:
    """Return the long options of a command, without those that every command has."""
    everywhere = {name for option in global_options() for name in option.opts}
    own = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
    return {name for name in own - everywhere if name.startswith("--")}


COMMANDS = commands()


def section(text: str, command: str) -> str:
    """Return what a page says below the heading that names a command, down to the next heading of its level."""
    heading = re.search(rf"^(#+) .*(?<![\w-]){re.escape(command)}(?![\w-]).*\n", text, re.MULTILINE)
    assert heading, f"docs/cli.md has no heading for {command}"
    rest = text[heading.end() :]
    following = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_in_the_page(name: str) -> None:
    documented = set(OPTION.findall(section(page("docs/cli.md"), name)))
    assert options(COMMANDS[name]) <= documented


def test_every_global_option_is_in_the_page() -> None:
    text = page("docs/cli.md")
    names = [name for option in global_options() for name in option.opts if name.startswith("--")]
    assert [name for name in names if name not in text] == []


def test_every_option_in_the_pages_exists() -> None:
    everywhere = {name for option in global_options() for name in option.opts} | {"--help", "--version"}
    existing = everywhere.union(*(options(command) for command in COMMANDS.values()))
    assert set(OPTION.findall(page("docs/cli.md"))) - existing == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_a_summary_an_example_and_the_exit_codes(name: str) -> None:
    shown = COMMANDS[name].get_help(click.Context(COMMANDS[name], info_name=f"cachestore {name}"))
    assert COMMANDS[name].get_short_help_str()
    assert f"cachestore {name}" in shown.partition("Example")[2]
    assert "Exit codes" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    silent = [p.name for p in COMMANDS[name].params if isinstance(p, click.Option) and not p.help]
    assert silent == []


def steps(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a transcript and what it is said to print."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield command, expected


def pattern(expected: str) -> str:
    """Return the regular expression for an expected output with its ``...``."""
    lines = [
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + "\n"
        for line in expected.splitlines()
    ]
    return "".join(lines)


def shell(script: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a script where the environment is activated."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    return subprocess.run(
        ["sh", "-c", script],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def play(command: str, home: Path) -> str:
    """Run a command; return what is seen, without blanks at line ends."""
    return re.sub(r"[ \t]+$", "", shell(command, home).stdout, flags=re.MULTILINE)


@pytest.mark.long
def test_the_readme_shows_what_happens(tmp_path: Path) -> None:
    blocks = TRANSCRIPT.findall(page("README.md"))
    assert [command for command, _ in steps("".join(blocks))][:1] == ["cachestore demo"]
    for number, block in enumerate(blocks):
        home = tmp_path / str(number)
        home.mkdir()
        for command, expected in steps(block):
            shown = play(command, home)
            assert re.fullmatch(pattern(expected), shown), f"$ {command}\n{shown}\n--- but the README says:\n{expected}"


def fenced(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands_shown(text: str) -> str:
    """Return the lines of all indented blocks."""
    return "".join(f"{line}\n" for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE))


def test_the_page_of_formats_lists_every_kind_of_audio() -> None:
    table = page("docs/formats.md").partition("| extension | kind |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(MEDIA_TYPES)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_wrapped(name: str) -> None:
    text = re.sub(r"^```ndjson\n.*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)  # an event is a line
    assert [line for line in text.splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target, anchor in LINK.findall(page(name)):
        path = (HOUSE / name).parent / target if target else HOUSE / name
        assert path.exists(), target
        headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if anchor else []
        assert anchor in {"", *(re.sub(r"[^\w -]", "", text).lower().replace(" ", "-") for text in headings)}, anchor


def test_the_readme_leads_to_every_page() -> None:
    assert {target for target, _ in LINK.findall(page("README.md"))} >= {*PAGES} - {"README.md"}


@pytest.mark.parametrize("package", ["cachestore", "exporter_plugin"])
def test_the_design_names_every_room(package: str) -> None:
    house = section(page("docs/design.md"), "The house")
    rooms = {
        path.stem for path in (HOUSE / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert {room for room in rooms - {"__init__", "__main__"} if not re.search(rf"\b{room}\b", house)} == set()


def test_the_page_has_a_reason_for_every_dependency() -> None:
    project = tomllib.loads(page("pyproject.toml"))["project"]
    reasons = section(page("docs/design.md"), "Choices, and why")
    needed = [re.split(r"[<>=]", requirement)[0] for requirement in project["dependencies"]]
    assert [name for name in needed if f"| {name} |" not in reasons] == []


def settings() -> dict[str, str]:
    """Return the keys of the page's table of the configuration, each with what stands there as its default."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", section(page("docs/operations.md"), "Configuration"), re.MULTILINE)
    return dict(rows)


def test_every_key_of_the_configuration_is_in_the_page() -> None:
    assert set(settings()) == {field.name for field in fields(Config)} - {"path"}


def test_every_default_in_the_page_is_true(tmp_path: Path) -> None:
    stated = {key: default.strip("`") for key, default in settings().items() if key not in {"root", "sources"}}
    file = tmp_path / "config.toml"
    file.write_text("".join(f"{key} = {default}\n" for key, default in stated.items()))
    read, defaults = load_config(file, environ={}), Config(root=tmp_path)
    assert {key: getattr(read, key) for key in stated} == {key: getattr(defaults, key) for key in stated}


def test_every_example_of_a_configuration_can_be_read(tmp_path: Path) -> None:
    examples = [block for name in PAGES for block in fenced(page(name), "toml") if "project.entry-points" not in block]
    assert examples
    for example in examples:
        (tmp_path / "config.toml").write_text(example)
        load_config(tmp_path / "config.toml", environ={})


def codes_of_warnings() -> set[str]:
    """Return the first argument of every WarningEvent that is made anywhere."""
    files = [path for package in ("cachestore", "exporter_plugin") for path in (HOUSE / package).rglob("*.py")]
    calls = [node for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "WarningEvent"]
    codes = {code.value for code in made if isinstance(code, ast.Constant) and isinstance(code.value, str)}
    assert len(made) >= len(codes) > 0
    assert all(isinstance(code, ast.Constant) for code in made), "a code that a reader of the source cannot see"
    return codes


def test_every_code_of_an_event_is_in_the_page() -> None:
    _, failures, warnings = re.split(r"^\| `code` of a .*$", section(page("docs/cli.md"), "Events"), flags=re.MULTILINE)
    classes = [value for _, value in getmembers(errors, isclass) if issubclass(value, errors.TrackError)]
    assert set(CODES.findall(failures)) == {value.code for value in classes}
    assert set(CODES.findall(warnings)) == codes_of_warnings()


def test_the_source_of_the_page_resolves_a_track(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = section(page("docs/sources.md"), "A source of your own")
    [code], [project, table] = fenced(text, "python"), fenced(text, "toml")
    [(kind, target)] = tomllib.loads(project)["project"]["entry-points"]["cachestore.sources"].items()
    module = target.partition(":")[0]
    (tmp_path / f"{module}.py").write_text(code)
    (tmp_path / "mine-1.dist-info").mkdir()
    (tmp_path / "mine-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (tmp_path / "mine-1.dist-info" / "entry_points.txt").write_text(f"[cachestore.sources]\n{kind} = {target}\n")
    (tmp_path / "config.toml").write_text(table)
    monkeypatch.syspath_prepend(tmp_path)
    config = load_config(tmp_path / "config.toml", environ={})

    track = Track("mine", "7")
    web = open_web(config, jobs=1, cancel=threading.Event())
    origin = Sources(config, web, {"MY_TOKEN": TOKEN}).account_of(track).resolve(track)
    assert origin.url == "https://mine.example/audio/7"
    assert origin.headers == {"Authorization": f"Bearer {TOKEN}"}
    with pytest.raises(SourceError, match="its id is no number"):
        Sources(config, web, {"MY_TOKEN": TOKEN}).account_of(track).resolve(Track("mine", "seven"))
    with pytest.raises(errors.ConfigError, match="MY_TOKEN is not set"):
        Sources(config, web, {}).account_of(track)
    web.close()


@pytest.fixture
def home_of_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Mapping[str, Sample]
) -> Iterator[Path]:
    """A home folder with the README's configuration and mix, whose service and URL are a server on this machine."""
    text = page("README.md")
    [table], [mix] = fenced(text, "toml"), fenced(text, "json")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STUDIO_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    aiff = next(render(piece) for piece in CLOUD if piece.ext == "aiff")
    served = {"t42": library["flac"].data, "t43": library["wav"].data, "a": aiff}
    with MusicOrigin(served, token=TOKEN) as origin:
        config = default_config_path()
        config.parent.mkdir(parents=True)
        config.write_text(table.replace("https://music.example/api/tracks/{id}/stream", origin.url))
        (tmp_path / "friday.json").write_text(
            mix.replace("https://example.org/a.flac", origin.url.replace("{id}", "a"))
        )
        (tmp_path / "Local").mkdir()
        (tmp_path / "Local" / "Intro.wav").write_bytes(render(LOCAL[0]))
        yield tmp_path


def test_a_stranger_exports_a_mix_of_their_own_by_the_readme(home_of_the_readme: Path) -> None:
    shown = commands_shown(section(page("README.md"), "Export your own mix"))
    assert "cachestore export friday.json ~/Music/Friday\n" in shown
    done = shell("set -e\n" + shown.replace("STUDIO_TOKEN=...", f"STUDIO_TOKEN={TOKEN}"), home_of_the_readme)
    assert done.returncode == 0, done.stdout
    bundle = home_of_the_readme / "Music" / "Friday"
    files = ["01 - E.P. - Opus.flac", "02 - Clouds.aiff", "03 - Intro.wav"]
    assert sorted(path.name for path in (bundle / "media").iterdir()) == files
    assert {path.name for path in bundle.iterdir()} == {"media", "Friday Warm-up.m3u8", "bundle.json"}


def test_the_python_of_the_readme_does_what_it_says(home_of_the_readme: Path) -> None:
    [code] = fenced(page("README.md"), "python")
    exec(compile(code, "README.md", "exec"), {})
    assert [path.name for path in sorted((home_of_the_readme / "Single").iterdir())] == ["01.flac", "02.wav"]
    assert len(list((home_of_the_readme / "Friday" / "media").iterdir())) == 3


def test_the_python_of_the_host_exports_a_mix(home_of_the_readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = fenced(section(page("docs/host-apps.md"), "Python"), "python")
    exec(compile(code, "host-apps.md", "exec"), {})
    assert [path.name for path in (home_of_the_readme / "Friday" / "media").iterdir()] == ["01 - Opus.flac"]
    assert (home_of_the_readme / "Friday" / "Friday.rpp").exists()
    assert "0 Opus done" in capsys.readouterr().out


@pytest.fixture(scope="module")
def bundle_of_the_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The bundle of the mix in docs/formats.md, and its bundle.json with the page's server in place of ours."""
    folder = tmp_path_factory.mktemp("formats")
    [mix] = [block for block in fenced(page("docs/formats.md"), "json") if '"bundle"' not in block]
    (folder / "Local").mkdir()
    (folder / "Local" / "Intro.wav").write_bytes(render(LOCAL[0]))
    with MusicOrigin({piece.id: render(piece) for piece in CLOUD}, token=TOKEN) as origin:
        here = origin.url.partition("/api/")[0]
        (folder / "mix.json").write_text(mix.replace("https://music.example", here))
        options = {"url": origin.url, "headers": {"Authorization": f"Bearer {TOKEN}"}}
        config = Config(root=folder / "store", min_free=0, sources={"studio": SourceConfig("studio", "http", options)})
        with Cache.open(config) as cache:
            export_mix(folder / "mix.json", folder / "Friday", Options(on_error="skip"), cache=cache)
    return folder / "Friday", (folder / "Friday" / "bundle.json").read_text().replace(here, "https://music.example")


def lasting(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a bundle.json without the times in it."""
    files = [
        file | {"mtime_ns": 0, "content": re.sub("-[0-9]+$", "", file["content"] or "")} for file in manifest["files"]
    ]
    return manifest | {"exported_at": "", "files": files}


def keys(value: object) -> set[str]:
    """Return the keys of all objects in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def test_every_key_of_a_bundle_is_in_the_page(bundle_of_the_page: tuple[Path, str]) -> None:
    documented = set(re.findall(r"`(\w+)`", section(page("docs/formats.md"), "bundle.json")))
    assert keys(json.loads(bundle_of_the_page[1])) - documented == set()


def test_the_bundle_of_the_page_is_what_its_mix_becomes(bundle_of_the_page: tuple[Path, str]) -> None:
    bundle, manifest = bundle_of_the_page
    [shown] = [block for block in fenced(page("docs/formats.md"), "json") if '"bundle"' in block]
    assert lasting(json.loads(shown)) == lasting(json.loads(manifest))
    tree, playlist = fenced(page("docs/formats.md"), "text")
    assert (bundle / "Friday Warm-up.m3u8").read_text() == playlist
    assert re.findall(r"^    (\S.*?)(?:  .*)?$", tree, re.MULTILINE) == sorted(os.listdir(bundle / "media"))
    assert {*re.findall(r"^  (\S.*?)/?$", tree, re.MULTILINE)} == set(os.listdir(bundle))

"""The pages and the help say what is there, and the README's transcript is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cachestore.cli.context import global_options
from cachestore.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = Path(__file__).parent.parent
# A transcript in the README is a block
#     ```console
#     $ cachestore demo
#     what it prints, where ... stands for any text, and a line of its own for any lines
#     ```
# The commands of a block run one after the other in an empty HOME, which is also the current folder.
TRANSCRIPT = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


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


def play(command: str, home: Path) -> str:
    """Run a command where the environment is activated; return what is seen, without blanks at line ends."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return re.sub(r"[ \t]+$", "", done.stdout, flags=re.MULTILINE)


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

"""The command line as a whole: global options, help, plugins, and how failures end."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from cachestore.cli import commands
from cachestore.cli.commands import BUILT_IN
from cachestore.cli.context import Settings, pass_settings
from cachestore.cli.failures import explain
from cachestore.cli.main import cli, run
from cachestore.cli.output import ago, plain, print_facts, print_table, rfc3339
from cachestore.errors import Busy
from tests.library import make_wave

if TYPE_CHECKING:
    from collections.abc import Callable


def cachestore(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - as subprocess.run has them
    """Run the command line as a person does."""
    command = [sys.executable, "-m", "cachestore", *args]
    return subprocess.run(command, check=False, text=True, timeout=60, **{"capture_output": True, **options})


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install entry points by name and target."""

    def install(**targets: str) -> None:
        found = {name: EntryPoint(name, target, commands.ENTRY_POINTS) for name, target in targets.items()}
        monkeypatch.setattr(commands, "_plugins", lambda: found)

    return install


@pass_settings
def _show_settings(settings: Settings) -> None:
    click.echo(f"{settings.root} {settings.config_file} {settings.quiet} {settings.verbose}")


settings_command = click.Command("settings", callback=_show_settings, help="Say what was given.")
not_a_command = "text"


@click.command()
@click.option("--root", "root", help="A folder of the plugin's own.")
def own_root(root: str) -> None:
    click.echo(f"own root {root}")


def exits_with(code: int) -> click.Command:
    return click.Command("exits", callback=lambda: code)


exits_three = exits_with(3)


@click.command()
@click.pass_context
def leaves(context: click.Context) -> None:
    context.exit(75)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"cachestore {version('cachestore')}\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "None None False 0"),
        (["--root", "/r", "settings", "--config", "/c", "-q"], "/r /c True 0"),
        (["settings", "--root", "/r"], "/r None False 0"),
        (["--root", "/before", "settings", "--root", "/after"], "/after None False 0"),
        (["-vv", "settings"], "None None False 2"),
        (["settings", "-v"], "None None False 1"),
        (["--config", "/c", "settings"], "None /c False 0"),
    ],
)
def test_global_options_work_before_and_after_the_command(
    plugins: Callable[..., None], capsys: pytest.CaptureFixture[str], args: list[str], expected: str
) -> None:
    plugins(settings="test_cli:settings_command")
    assert run(args or ["settings"]) == 0
    assert capsys.readouterr().out == f"{expected}\n"


def test_an_option_of_the_plugin_wins_over_a_global_one(
    plugins: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugins(own="test_cli:own_root")
    for _ in range(2):
        assert run(["own", "--root", "x"]) == 0
    assert capsys.readouterr().out == "own root x\nown root x\n"


def test_an_empty_root_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ls", "--root", ""]) == 2
    assert "Invalid value for '--root': expected a path, not an empty text" in capsys.readouterr().err


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-q", "ls", "-v"]) == 2
    assert "--quiet and --verbose exclude each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["lss"], "Error: No such command 'lss'."),
        (["--nonsense"], "Error: No such option"),
        (["ls", "--nonsense"], "Error: No such option"),
        (["show"], "Error: Missing argument 'ADDRESS'."),
        (["pin"], "Error: Missing argument 'ADDRESS...'."),
        (["fetch"], "Error: expected either tracks or --mix"),
        (["playlists"], "Error: Missing argument 'SOURCE'."),
        (["fetch", "studio:1", "--jobs", "0"], "Error: Invalid value for '--jobs': 0 is not in the range 1<=x<=64."),
        (["fetch", "studio:1", "--events", "xml"], "Error: Invalid value for '--events'"),
        (["fetch", "studio:1", "--events", "ndjson", "--json"], "Error: --events and --json both need stdout"),
    ],
)
def test_wrong_usage_is_answered_with_the_usage(
    capsys: pytest.CaptureFixture[str], args: list[str], sentence: str
) -> None:
    assert run(args) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage: cachestore")
    assert sentence in err


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_help_of_a_command_has_an_example_and_the_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert run([name, "--help"]) == 0
    page = capsys.readouterr().out
    assert f"Example:\n    cachestore {name}" in page
    assert "Exit codes:\n    0    done\n" in page


def test_the_listing_has_every_command_and_a_broken_plugin_stops_none(
    plugins: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    plugins(good="test_cli:settings_command", missing="no_such_module:x", text="test_cli:not_a_command")
    assert run(["--help"]) == 0
    listing = capsys.readouterr().out
    for name, summary in BUILT_IN.items():
        assert f"  {name} " in listing
        assert summary in listing
    assert "  missing    [broken]\n" in listing
    assert "  text       [broken]\n" in listing
    assert "  good       Say what was given.\n" in listing


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module:x", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("test_cli:no_such_name", "AttributeError: module 'test_cli' has no attribute 'no_such_name'"),
        ("test_cli:not_a_command", "it is no click command"),
    ],
)
def test_a_broken_plugin_is_one_sentence(
    plugins: Callable[..., None], capsys: pytest.CaptureFixture[str], target: str, reason: str
) -> None:
    plugins(broken=target)
    assert run(["broken", "MIX", "--option"]) == 1
    assert capsys.readouterr().err == (
        f"cachestore: the plugin broken ({target}) does not load: {reason}; mend or uninstall its package\n"
    )


def test_our_own_commands_win_over_plugins(plugins: Callable[..., None], tmp_path: Path) -> None:
    plugins(ls="no_such_module:x")
    assert run(["ls", "--root", str(tmp_path / "none")]) == 4


@pytest.mark.parametrize(("target", "code"), [("test_cli:exits_three", 3), ("test_cli:leaves", 75)])
def test_a_command_may_return_its_exit_code_or_leave_with_it(
    plugins: Callable[..., None], target: str, code: int
) -> None:
    plugins(ends=target)
    assert run(["ends"]) == code


def _raising(error: BaseException) -> click.Command:
    def callback() -> None:
        raise error

    return click.Command("raise", callback=callback)


def _chained() -> Exception:
    error = RuntimeError("something else")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/srv/x")
    return error


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (Busy("the store"), 75, "the store is busy with another command; try again in a moment"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/srv/music/x"),
            4,
            "the disk of /srv/music/x is full; free space there or run: cachestore prune",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            4,
            "a disk is full, the store's, the destination's or the output's; free space there or run: cachestore prune",
        ),
        (_chained(), 4, "the disk of /srv/x is full; free space there or run: cachestore prune"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), 1, "/srv/x: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
    ],
)
def test_a_failure_is_one_sentence_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int, sentence: str
) -> None:
    monkeypatch.setattr(cli, "get_command", lambda *_: _raising(error))
    assert run(["raise"]) == code
    assert capsys.readouterr().err == f"cachestore: {sentence}\n"


def test_a_bug_is_one_sentence_with_its_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "get_command", lambda *_: _raising(ZeroDivisionError("s3cret")))
    assert run(["raise"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("cachestore: internal error (ZeroDivisionError at test_cli.py:")
    assert err.endswith("); please report it\n")
    assert "s3cret" not in err


def test_an_error_that_was_never_raised_has_a_place_too() -> None:
    assert explain(ValueError()) == ("internal error (ValueError at an unknown place); please report it", 1)


def test_a_sentence_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "get_command", lambda *_: _raising(Busy("\x1b[2J\nthe store")))
    assert run(["raise"]) == 75
    assert capsys.readouterr().err.startswith("cachestore: \ufffd[2J\ufffdthe store is busy")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "get_command", lambda *_: _raising(KeyboardInterrupt()))
    assert run(["raise"]) == 130


@pytest.mark.parametrize(
    ("args", "code", "err"),
    [
        (
            ["show", "t42"],
            2,
            (
                "cachestore: 't42' is no track address: it has no source name before a colon; "
                "expected source:id, source:id@version or an http(s) URL\n"
            ),
        ),
        (
            ["prune", "--max-size", "lots"],
            2,
            'cachestore: \'lots\' does not parse: expected a size such as "20 GB", "512 MiB" or "0"\n',
        ),
        (
            ["prune", "--max-age", "soon"],
            2,
            'cachestore: \'soon\' does not parse: expected a duration such as "90 s", "1 h" or "7 days"\n',
        ),
        (["ls", "--config", "absent.toml"], 2, "cachestore: {cwd}/absent.toml: there is no such configuration file\n"),
        (
            ["--config", "bad.toml", "info"],
            2,
            "cachestore: {cwd}/bad.toml: max_siez: there is no such key; did you mean max_size?\n",
        ),
        (
            ["--root", "none", "verify"],
            4,
            "cachestore: no store at {cwd}/none; the first fetch or export creates it (or name another with --root)\n",
        ),
    ],
)
def test_bad_input_is_one_sentence_from_the_real_process(tmp_path: Path, args: list[str], code: int, err: str) -> None:
    (tmp_path / "bad.toml").write_text('max_siez = "1 GB"')
    done = cachestore(*args, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", err.format(cwd=tmp_path))


@pytest.mark.parametrize(
    "args",
    [["ls"], ["show", "s:1"], ["info"], ["why", "x"], ["verify"], ["pin", "s:1"], ["unpin", "s:1"], ["rm", "s:1"],
     ["prune"], ["prune", "--dry-run"], ["repair"]],
)  # fmt: skip
def test_only_a_fetch_creates_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    root = tmp_path / "none"
    assert run([*args, "--root", str(root)]) == 4
    assert capsys.readouterr().err == (
        f"cachestore: no store at {root}; the first fetch or export creates it (or name another with --root)\n"
    )
    assert not root.exists()


@pytest.mark.parametrize("args", [["ls"], ["prune"], ["info"]])
def test_a_root_of_a_newer_format_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    (tmp_path / "index-v99").mkdir()
    tmp_path.chmod(0o700)
    assert run([*args, "--root", str(tmp_path)]) == 4
    assert capsys.readouterr().err == (
        f"cachestore: the store at {tmp_path} has a newer format (index-v99) than this version reads; "
        "upgrade cachestore or name another store with --root\n"
    )


def test_a_root_that_others_may_write_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o777)
    assert run(["ls", "--root", str(tmp_path)]) == 4
    assert capsys.readouterr().err == (
        f"cachestore: the store at {tmp_path} cannot be used: others may write into it; run: chmod 700 {tmp_path}\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_root_of_another_user_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "theirs"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, -1)
    for command in ("ls", "prune"):
        assert run([command, "--root", str(root)]) == 4
        assert capsys.readouterr().err == (
            f"cachestore: the store at {root} cannot be used: it belongs to user 12345 and you are 0; "
            "run as its owner or name another with --root\n"
        )


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = cachestore("--help", stdout=write, stderr=subprocess.PIPE, capture_output=False, cwd=tmp_path)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("rows", "code"), [(["a.wav"], 0), (["a.wav", "gone.wav"], 3)])
@pytest.mark.parametrize("how", [[], ["--json"]])
def test_the_exit_code_says_what_was_published_though_nobody_reads(
    tmp_path: Path, rows: list[str], code: int, how: list[str]
) -> None:
    (tmp_path / "a.wav").write_bytes(make_wave(3000))
    (tmp_path / "m.json").write_text(json.dumps({"name": "F", "tracks": [{"path": row} for row in rows]}))
    read, write = os.pipe()
    os.close(read)
    try:
        done = cachestore(
            *["--root", "store", "export", "m.json", "D", "--on-error", "skip", *how],
            stdout=write,
            stderr=subprocess.PIPE,
            capture_output=False,
            cwd=tmp_path,
        )
    finally:
        os.close(write)
    assert (tmp_path / "D" / "bundle.json").exists()
    assert (done.returncode, "published without 1 track" in done.stderr) == (code, code == 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_to_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = cachestore("--help", stdout=full, stderr=subprocess.PIPE, capture_output=False, cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr == (
        "cachestore: a disk is full, the store's, the destination's or the output's; "
        "free space there or run: cachestore prune\n"
    )


def test_the_shell_completes_commands_and_options() -> None:
    words = {"_CACHESTORE_COMPLETE": "bash_complete", "COMP_WORDS": "cachestore p", "COMP_CWORD": "1"}
    done = cachestore(env={**os.environ, **words})
    assert done.stdout.split() == ["plain,pin", "plain,playlists", "plain,prune"]
    words |= {"COMP_WORDS": "cachestore ls --", "COMP_CWORD": "2"}
    assert "plain,--json" in cachestore(env={**os.environ, **words}).stdout.split()


def test_the_shell_gets_its_completion_script() -> None:
    done = cachestore(env={**os.environ, "_CACHESTORE_COMPLETE": "bash_source"})
    assert done.returncode == 0
    assert "_CACHESTORE_COMPLETE=bash_complete" in done.stdout


@pytest.mark.parametrize(
    "args",
    [["--version"], ["ls"], ["show", "s:1"], ["info"], ["why", "x"], ["pin", "s:1"], ["rm", "s:1"], ["prune"],
     ["verify"], ["repair"], ["doctor"], ["fetch", "--help"], ["playlists", "--help"]],
)  # fmt: skip
def test_a_command_imports_no_network_and_no_bars(tmp_path: Path, args: list[str]) -> None:
    code = (
        "import sys; from cachestore.cli.main import run; run(sys.argv[1:]); "
        "print(*{'httpx', 'rich', 'tenacity'} & set(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *args]
    environ = {**os.environ, "CACHESTORE_ROOT": str(tmp_path / "none")}
    done = subprocess.run(command, check=True, text=True, capture_output=True, env=environ, timeout=60)
    assert done.stderr.splitlines()[-1] == ""


def test_a_table_is_aligned_whatever_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "N"), [("日本", "1"), ("e\u0301", "22"), ("a\nb", "3")], right=frozenset({1}))
    assert capsys.readouterr().out == "A      N\n日本   1\ne\u0301     22\na\ufffdb    3\n"


def test_facts_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts([("a", "1"), ("long", "2")])
    assert capsys.readouterr().out == "a     1\nlong  2\n"


def test_times_are_rfc_3339_in_utc() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(None) is None


def test_a_last_use_is_told_as_people_do() -> None:
    assert [ago(n, 10_000) for n in (10_500, 10_000, 9_941, 9_880, 2_800)] == ["just now"] * 3 + [
        "2 min ago",
        "2 h ago",
    ]
    assert plain("a\x7fb\u2028c") == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_failure(tmp_path: Path, closed: str) -> None:
    command = f'"{sys.executable}" -m cachestore --root "{tmp_path / "none"}" info {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "AttributeError" not in done.stderr

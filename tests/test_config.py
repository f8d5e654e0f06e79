"""The configuration: where it comes from, what it may say, and the sentences for what it may not."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cachestore.config import Config, default_config_path, expand, load_config
from cachestore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str], Path]

SIZE = 'a size such as "20 GB" or "512 MiB", or a number of bytes'
AGE = 'a duration such as "90 s", "1 h" or "7 days", or a number of seconds'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a configuration file and return its path."""

    def to_file(text: str) -> Path:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return to_file


def problem(file: Path) -> str:
    """Return the sentence about `file`, without its name."""
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})
    return str(caught.value).removeprefix(str(file)).removeprefix(": ")


def test_no_file_is_needed() -> None:
    config = load_config(environ={})
    assert config == Config(root=Path.home() / ".cache/cachestore")
    assert (config.max_size, config.min_free, config.min_age, config.max_age) == (20 * 10**9, 2 * 10**9, 3600, None)
    assert config.path is None


def test_every_key_of_the_file_is_read(write: Write) -> None:
    file = write("""
        root = "/srv/music"
        max_size = "1 GiB"
        min_free = 5
        min_age = "2 h"
        max_age = "30 days"
        link_mode = "copy"
        editable = true
        template = "{title}"
        jobs = 64
        on_error = "skip"
        fresh_for = 1.5
        stale_if_error = "0 s"
        max_track_size = "100 MB"
        connect_timeout = 1
        stall_timeout = "2 s"
        total_timeout = "3 min"
        retries = 0
        [sources.studio]
        kind = "http"
        url = "https://music.example/{id}"
    """)
    config = load_config(file, environ={})
    values = dataclasses.asdict(config)
    sources = values.pop("sources")
    assert values == {
        "root": Path("/srv/music"),
        "max_size": 2**30,
        "min_free": 5,
        "min_age": 7200,
        "max_age": 30 * 86400,
        "link_mode": "copy",
        "editable": True,
        "template": "{title}",
        "jobs": 64,
        "on_error": "skip",
        "fresh_for": 1.5,
        "stale_if_error": 0,
        "max_track_size": 10**8,
        "connect_timeout": 1,
        "stall_timeout": 2,
        "total_timeout": 180,
        "retries": 0,
        "path": file,
    }
    assert sources == {
        "studio": {
            "name": "studio",
            "kind": "http",
            "options": {"url": "https://music.example/{id}"},
            "path": file,
        },
    }


def test_a_file_with_the_mark_of_windows_editors_is_read(write: Write) -> None:
    assert load_config(write("\ufeffjobs = 2"), environ={}).jobs == 2


def test_max_age_may_be_off(write: Write) -> None:
    assert load_config(write('max_age = "off"'), environ={}).max_age is None


def test_the_default_file_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = default_config_path()
    file.parent.mkdir()
    file.write_text("jobs = 7")
    config = load_config(environ={})
    assert (config.jobs, config.path) == (7, file)


def test_an_argument_wins_over_the_environment_which_wins_over_the_file(write: Write, tmp_path: Path) -> None:
    file = write('root = "/from/file"')
    environ = {"CACHESTORE_CONFIG": str(file)}
    assert load_config(environ=environ).root == Path("/from/file")
    environ["CACHESTORE_ROOT"] = "/from/environment"
    assert load_config(environ=environ).root == Path("/from/environment")
    assert load_config(root=Path("/from/argument"), environ=environ).root == Path("/from/argument")
    other = tmp_path / "other.toml"
    other.write_text("jobs = 9")
    assert load_config(other, environ=environ).jobs == 9


def test_an_empty_variable_says_nothing() -> None:
    config = load_config(environ={"CACHESTORE_CONFIG": "", "CACHESTORE_ROOT": ""})
    assert config == load_config(environ={})


def test_a_relative_root_in_the_file_lies_beside_it_wherever_cron_starts(write: Write) -> None:
    file = write('root = "store"')
    assert load_config(file, environ={}).root == file.parent / "store"


def test_a_tilde_is_the_home_folder(write: Write) -> None:
    home = Path.home()
    assert load_config(write('root = "~/store"'), environ={}).root == home / "store"
    assert load_config(root=Path("~/store"), environ={}).root == home / "store"
    assert load_config(environ={"CACHESTORE_ROOT": "~/store"}).root == home / "store"


def test_a_relative_root_argument_lies_in_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(root=Path("store"), environ={}).root == tmp_path / "store"


def test_the_home_of_nobody_is_one_sentence(write: Write) -> None:
    expected = "root: the home folder of ~no-such-person is not known; write the whole path"
    assert problem(write('root = "~no-such-person/x"')) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('max_siez = "1 GB"', "max_siez: there is no such key; did you mean max_size?"),
        ("Jobs = 1", "Jobs: there is no such key; did you mean jobs?"),
        ("[source.studio]", "source: there is no such key; did you mean sources?"),
        ('max_size = "lots"', f'max_size: "lots" is not accepted; expected {SIZE}'),
        ("max_size = -1", f"max_size: -1 is not accepted; expected {SIZE}"),
        ("max_size = 1.5", f"max_size: 1.5 is not accepted; expected {SIZE}"),
        ("max_size = true", f"max_size: true is not accepted; expected {SIZE}"),
        ('max_size = {a = "s3cret"}', f"max_size: a value of type dict is not accepted; expected {SIZE}"),
        ('min_free = "1 parsec"', f'min_free: "1 parsec" is not accepted; expected {SIZE}'),
        ('min_age = "soon"', f'min_age: "soon" is not accepted; expected {AGE}'),
        ("min_age = inf", f"min_age: Infinity is not accepted; expected {AGE}"),
        ("min_age = nan", f"min_age: NaN is not accepted; expected {AGE}"),
        ("min_age = 2026-01-31", f"min_age: a value of type date is not accepted; expected {AGE}"),
        ('max_age = "never"', f'max_age: "never" is not accepted; expected "off" or {AGE}'),
        ("fresh_for = -1", f"fresh_for: -1 is not accepted; expected {AGE}"),
        ("connect_timeout = 0", f"connect_timeout: 0 is not accepted; expected {AGE}, more than 0"),
        ("stall_timeout = -1", f"stall_timeout: -1 is not accepted; expected {AGE}, more than 0"),
        ("jobs = 0", "jobs: 0 is not accepted; expected an integer from 1 to 64"),
        ("jobs = 65", "jobs: 65 is not accepted; expected an integer from 1 to 64"),
        ('jobs = "4"', 'jobs: "4" is not accepted; expected an integer from 1 to 64'),
        ("retries = -1", "retries: -1 is not accepted; expected an integer, 0 or more"),
        (
            'link_mode = "symlink"',
            'link_mode: "symlink" is not accepted; expected one of auto, hardlink, reflink, copy',
        ),
        ("on_error = 1", "on_error: 1 is not accepted; expected one of fail, skip"),
        ('root = ""', 'root: "" is not accepted; expected the path of a folder'),
        ('root = "\\u0000"', 'root: "\\u0000" is not accepted; expected the path of a folder'),
        ("root = 1", "root: 1 is not accepted; expected the path of a folder"),
        ("sources = 1", "sources: expected tables such as [sources.studio]"),
        ('sources.studio = "s3cret"', "sources.studio: expected a table [sources.studio]"),
        (
            "[sources.studio]",
            'sources.studio: the key kind is missing or no text; expected, for example, kind = "http"',
        ),
        (
            '[sources.url]\nkind = "http"',
            "sources.url: the name is reserved (cachestore, file, http, https, url); choose another",
        ),
        ('[sources.Studio]\nkind = "http"', "sources.Studio: a source is named with a-z, 0-9, _ and - only"),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_was_expected(write: Write, text: str, sentence: str) -> None:
    assert problem(write(text)) == sentence


def test_a_key_that_is_near_no_other_gets_the_list(write: Write) -> None:
    assert problem(write("xyzzy = 1")).startswith("xyzzy: there is no such key (known: root, max_size, min_free")


def test_a_long_wrong_value_is_cut(write: Write) -> None:
    assert problem(write(f'jobs = "{"x" * 500}"')).startswith(f'jobs: "{"x" * 58}… is not accepted')


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("jobs = 4\nmax_size 3", "at line 2, column 10"),
        ("jobs = 4\njobs = 5", "at line 2, column 9, the end of the file"),
        ("jobs = [1,", "at line 1, column 11, the end of the file"),
        ('root = "open', "at line 1, column 13, the end of the file"),
    ],
)
def test_broken_toml_is_named_with_line_and_column(write: Write, text: str, place: str) -> None:
    sentence = problem(write(text))
    assert sentence.startswith("not valid TOML: ")
    assert sentence.endswith(f"({place})")


def test_a_file_that_is_not_utf8_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b"root = '\xff'")
    assert problem(file) == "the configuration file is not UTF-8 (byte 8)"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    assert problem(tmp_path / "absent.toml") == "there is no such configuration file"
    with pytest.raises(ConfigError, match=r"absent\.toml: there is no such configuration file"):
        load_config(environ={"CACHESTORE_CONFIG": str(tmp_path / "absent.toml")})


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    assert problem(tmp_path) == "the configuration file cannot be read: Is a directory"


def test_a_source_shows_no_secret(write: Write) -> None:
    config = load_config(write('[sources.home]\nkind = "subsonic"\npassword = "hunter2"'), environ={})
    assert "hunter2" not in repr(config)


def test_variables_are_left_alone_until_a_source_is_used(write: Write) -> None:
    file = write('[sources.studio]\nkind = "http"\nurl = "${B}"\nheaders = { X = "${A}", Y = ["${A}", 1] }')
    source = load_config(file, environ={}).sources["studio"]
    assert source.options == {"url": "${B}", "headers": {"X": "${A}", "Y": ["${A}", 1]}}
    assert source.variables() == ["A", "B"]


def test_a_variable_is_expanded_once() -> None:
    assert expand("Bearer ${A}-${B}$", "here", {"A": "${B}", "B": "b"}) == "Bearer ${B}-b$"


def test_a_variable_that_is_not_set_is_named_and_its_neighbours_are_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        expand("s3cret ${STUDIO_TOKEN}", "config.toml: sources.studio.headers.X", os.environ)
    assert str(caught.value) == (
        "config.toml: sources.studio.headers.X: the environment variable "
        "STUDIO_TOKEN is not set; export it and run again"
    )


@pytest.mark.parametrize("text", ["${", "${}", "${A-B}", "${A", "${1}"])
def test_what_looks_like_a_variable_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected \$\{NAME\}"):
        expand(text, "here", {"A": "a"})


def test_a_value_that_looks_like_a_variable_is_no_variable() -> None:
    assert expand("${A}", "here", {"A": "p${ss"}) == "p${ss"

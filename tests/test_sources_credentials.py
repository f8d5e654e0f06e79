from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachestore.config import Config, SourceConfig
from cachestore.errors import Cancelled, ConfigError, Forbidden, NotFound, SourceError, TimedOut, Unauthorized
from cachestore.sources.command import LARGEST_OUTPUT, CommandFailed, output_of
from cachestore.sources.credentials import _BAD_NAME, _BAD_VALUE, _parsed
from cachestore.sources.http import HttpSource
from cachestore.track import Origin, Track
from cachestore.web import open_web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cachestore.errors import TrackError
    from cachestore.web import Web

SECRET = "s3cret-4f1d"
STREAM = "https://music.example/api/tracks/{id}/stream"
TRACK = Track("studio", "t1", title="Opus")
OTHER = Track("studio", "t2", title="Strobe")
REFUSED = Unauthorized(TRACK.address, TRACK.label, "refused", status=401)
TOKEN_BY_RUN = 'printf \'{"Authorization": "Bearer tok-%s"}\' "$(wc -l < "$RUNS" | tr -d " ")"'
PATIENCE = 10.0
HEADERS = st.dictionaries(st.sampled_from(["X-Key", "a b", ""]) | st.text(max_size=4), st.text(max_size=8) | st.none())


@dataclass(frozen=True, slots=True)
class Helper:
    """A program that notes each of its runs."""

    path: Path
    log: Path

    @property
    def runs(self) -> int:
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "RUNS": str(self.log)}


@pytest.fixture
def helper(tmp_path: Path) -> Callable[[str], Helper]:
    """Write a shell script that does what it is given."""

    def write(script: str) -> Helper:
        path = tmp_path / "helper"
        path.write_text(f'#!/bin/sh\necho run >> "$RUNS"\n{script}\n')
        path.chmod(0o755)
        return Helper(path, tmp_path / "runs")

    return write


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with closing(open_web(Config(root=tmp_path), jobs=8, cancel=threading.Event())) as opened:
        yield opened


def source(
    web: Web, command: list[str], environ: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> HttpSource:
    options = {"url": STREAM, "headers": dict(headers or {}), "credential_command": command}
    return HttpSource(SourceConfig("studio", "http", options), environ, web)


def helped(web: Web, helper: Helper, *arguments: str, headers: Mapping[str, str] | None = None) -> HttpSource:
    return source(web, [str(helper.path), *arguments], helper.environ, headers)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        threading.Event().wait(0.01)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not reaped by its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_the_program_prints_goes_over_the_headers_however_their_names_are_written(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    printing = helper("""echo '{"authorization": "Bearer new", "X-More": "1"}'""")
    made = helped(web, printing, headers={"Authorization": "Bearer old", "X-Kept": "2"})
    assert made.resolve(TRACK).headers == {"authorization": "Bearer new", "X-More": "1", "X-Kept": "2"}


def test_the_program_is_run_once_for_all_threads_and_only_when_it_is_needed(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    counted = helper(TOKEN_BY_RUN)
    made = helped(web, counted)
    assert counted.runs == 0
    with ThreadPoolExecutor(8) as threads:
        origins = list(threads.map(made.resolve, [TRACK, OTHER] * 8))
    assert {origin.headers["Authorization"] for origin in origins} == {"Bearer tok-1"}
    assert counted.runs == 1


def test_the_program_sees_the_environment_of_the_run_and_no_input_and_its_variables_are_expanded(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    printing = helper("""printf '{"X-Said": "%s|%s|%s|%s"}' "$1" "$2" "$(cat | wc -c | tr -d ' ')" "${HOME-unset}" """)
    assert helped(web, printing, "${RUNS}", "$HOME; *").resolve(TRACK).headers == {
        "X-Said": f"{printing.log}|$HOME; *|0|unset"
    }


def test_a_program_is_found_on_the_path_of_the_run(web: Web, helper: Callable[[str], Helper]) -> None:
    printing = helper("""echo '{"X-Found": "yes"}'""")
    environ = printing.environ | {"PATH": f"{printing.path.parent}:{os.environ['PATH']}"}
    assert source(web, ["helper"], environ).resolve(TRACK).headers == {"X-Found": "yes"}


def test_a_program_that_hangs_fails_its_track_by_the_tracks_deadline_and_may_be_run_for_the_next(
    tmp_path: Path, helper: Callable[[str], Helper]
) -> None:
    hanging = helper("exec sleep 3600")
    with closing(open_web(Config(root=tmp_path, total_timeout=0.5), jobs=1, cancel=threading.Event())) as hurried:
        made = helped(hurried, hanging)
        for track in (TRACK, OTHER):
            with pytest.raises(TimedOut, match=r"credential_command: the program .* did not end within total_timeout"):
                made.resolve(track)


def test_a_variable_that_is_not_set_is_named(web: Web) -> None:
    with pytest.raises(ConfigError, match=r"^sources.studio.credential_command: the environment variable VAULT is not"):
        source(web, ["pass", "${VAULT}"], {}).resolve(TRACK)


def test_many_threads_that_are_refused_at_once_run_the_program_once_more(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    counted = helper(TOKEN_BY_RUN)
    made = helped(web, counted)
    refused = made.resolve(TRACK)
    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(lambda _: made.renew(TRACK, refused, REFUSED), range(16)))
    assert counted.runs == 2
    assert made.resolve(TRACK).headers == {"Authorization": "Bearer tok-2"}


def test_who_was_refused_with_older_headers_than_the_current_ones_runs_nothing(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    counted = helper(TOKEN_BY_RUN)
    made = helped(web, counted)
    first = made.resolve(TRACK)
    assert made.renew(TRACK, first, REFUSED)
    assert made.renew(OTHER, first, REFUSED)
    assert counted.runs == 2
    assert made.renew(OTHER, made.resolve(OTHER), REFUSED), "credentials may expire more than once in a long run"
    assert counted.runs == 3


def test_a_program_that_prints_the_refused_headers_again_is_not_asked_a_third_time(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    same = helper("""echo '{"Authorization": "Bearer same"}'""")
    made = helped(web, same)
    refused = made.resolve(TRACK)
    assert not made.renew(TRACK, refused, REFUSED)
    assert not made.renew(OTHER, refused, REFUSED)
    assert same.runs == 2


@pytest.mark.parametrize(
    "error",
    [
        Forbidden(TRACK.address, TRACK.label, "not yours", status=403),
        NotFound(TRACK.address, TRACK.label, "gone", status=410),
    ],
)
def test_only_refused_credentials_are_renewed(error: TrackError, web: Web, helper: Callable[[str], Helper]) -> None:
    counted = helper(TOKEN_BY_RUN)
    made = helped(web, counted)
    assert not made.renew(TRACK, made.resolve(TRACK), error)
    assert counted.runs == 1


def test_without_a_program_there_is_nothing_to_renew(web: Web) -> None:
    options = {"url": STREAM, "headers": {"Authorization": "Bearer tok"}}
    made = HttpSource(SourceConfig("studio", "http", options), {}, web)
    assert not made.renew(TRACK, made.resolve(TRACK), REFUSED)


def said(made: HttpSource, track: Track = TRACK) -> str:
    with pytest.raises((SourceError, ConfigError)) as caught:
        made.resolve(track)
    assert SECRET not in f"{caught.value!s} {caught.value!r}"
    return str(caught.value)


def test_a_program_that_fails_is_named_with_its_exit_code_and_what_it_said_is_not_shown(
    web: Web, helper: Callable[[str], Helper], capfd: pytest.CaptureFixture[str]
) -> None:
    failing = helper(f"echo {SECRET}; echo {SECRET} >&2; exit 3")
    made = helped(web, failing, SECRET)
    assert said(made) == (
        f"Opus: sources.studio.credential_command: the program {failing.path} ended with exit code 3; "
        "run the command in a shell to see why"
    )
    assert capfd.readouterr() == ("", "")


def test_a_program_that_failed_is_not_run_again_and_fails_every_track(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    failing = helper("exit 1")
    made = helped(web, failing)
    with ThreadPoolExecutor(4) as threads:
        assert all("exit code 1" in text for text in threads.map(lambda _: said(made), range(8)))
    assert said(made, OTHER).startswith("Strobe: ")
    assert failing.runs == 1


def test_a_program_that_fails_when_it_is_to_renew_fails_the_tracks_from_then_on(
    web: Web, helper: Callable[[str], Helper]
) -> None:
    once = helper('[ "$(wc -l < "$RUNS")" -eq 1 ] || exit 9; echo "{}"')
    made = helped(web, once)
    refused = made.resolve(TRACK)
    for track in (TRACK, OTHER):
        with pytest.raises(SourceError, match="exit code 9"):
            made.renew(track, refused, REFUSED)
    assert "exit code 9" in said(made)
    assert once.runs == 2


def test_a_program_that_is_killed_is_told_as_such(web: Web, helper: Callable[[str], Helper]) -> None:
    assert "was ended by signal 9;" in said(helped(web, helper("kill -9 $$")))


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("", "something else than JSON such as"),
        (SECRET, "something else than JSON such as"),
        (f'"{SECRET}"', "something else than JSON such as"),
        (f'["{SECRET}"]', "something else than JSON such as"),
        (f'{{"X-{SECRET}": 1}}', "something else than JSON such as"),
        (f'{{"Authorization": "{SECRET}"}} {SECRET}', "something else than JSON such as"),
        ("\\377", "something else than JSON such as"),
        ("[" * 20000, "something else than JSON such as"),
        (f'{{"{SECRET} x": "y"}}', "a header that cannot be sent: this cannot be the name"),
        (f'{{"Authorization": "{SECRET}\\\\n"}}', "a header that cannot be sent: the value is empty, ends in a space"),
        (f'{{"Authorization": "{SECRET} \\\\u20ac"}}', "a header that cannot be sent: the value is empty"),
        ('{"Authorization": ""}', "a header that cannot be sent: the value is empty"),
    ],
)
def test_output_that_is_no_headers_is_refused_without_showing_it(
    printed: str, expected: str, web: Web, helper: Callable[[str], Helper]
) -> None:
    made = helped(web, helper(f"printf '{printed}'"))
    assert f"printed {expected}" in said(made)


def reason_against(printed: bytes) -> str:
    """Return why the output is refused, empty if it is not; what is accepted can be sent."""
    try:
        headers = _parsed(printed)
    except CommandFailed as error:
        return error.reason
    sent = httpx.Headers(headers, encoding="latin-1").raw
    return "?" if any(c in b"\r\n\0" for name, value in sent for c in name + value) else ""


@settings(deadline=None)
@given(st.binary(max_size=60) | HEADERS.map(lambda headers: json.dumps(headers).encode()))
def test_whatever_is_printed_is_headers_or_an_error_with_nothing_of_it(printed: bytes) -> None:
    assert reason_against(printed) in {
        "",
        'printed something else than JSON such as {"Authorization": "Bearer ..."}',
        f"printed a header that cannot be sent: {_BAD_NAME}",
        f"printed a header that cannot be sent: {_BAD_VALUE}",
    }


def test_a_program_that_prints_without_end_is_stopped(web: Web, helper: Callable[[str], Helper]) -> None:
    endless = helper(f'echo $$ > "$RUNS.pid"; exec yes {SECRET}')
    assert "printed more than 64.0 kB; run" in said(helped(web, endless))
    assert not is_alive(int(Path(f"{endless.log}.pid").read_text()))


def test_as_much_output_as_is_allowed_does_not_get_stuck_in_a_pipe(web: Web, helper: Callable[[str], Helper]) -> None:
    padded = helper(f"printf '%{LARGEST_OUTPUT - 2}s{{}}' ''")
    assert helped(web, padded).resolve(TRACK).headers == {}


@pytest.mark.parametrize("kind", ["missing", "no program", "no interpreter"])
def test_a_program_that_does_not_start_is_a_mistake_of_the_configuration(kind: str, web: Web, tmp_path: Path) -> None:
    path = tmp_path / "helper"
    if kind != "missing":
        path.write_text("#!/no/such/shell\n")
        path.chmod(0o644 if kind == "no program" else 0o755)
    with pytest.raises(ConfigError) as caught:
        source(web, [str(path), SECRET], dict(os.environ)).resolve(TRACK)
    assert str(caught.value).startswith(f"sources.studio.credential_command: {path} does not start: ")
    assert SECRET not in str(caught.value)


def test_arguments_that_no_program_can_take_are_a_mistake_of_the_configuration(web: Web) -> None:
    with pytest.raises(ConfigError, match="true does not start: it cannot be called so; expected"):
        source(web, ["true", "a\0b"], dict(os.environ)).resolve(TRACK)


def test_a_program_that_takes_too_long_is_ended(helper: Callable[[str], Helper]) -> None:
    slow = helper('echo $$ > "$RUNS.pid"; exec sleep 600')
    began = time.monotonic()
    with pytest.raises(CommandFailed, match=r"^did not end within 0.5 seconds$"):
        output_of([str(slow.path)], slow.environ, timeout=0.5, raise_if_over=lambda: None)
    assert time.monotonic() - began < PATIENCE
    assert not is_alive(int(Path(f"{slow.log}.pid").read_text()))


@pytest.mark.parametrize("end", ["cancel", "abort"])
def test_a_cancel_ends_the_program_with_all_it_started_and_everyone_who_waits_for_it(
    end: str, web: Web, helper: Callable[[str], Helper]
) -> None:
    asking = helper('sleep 600 & echo "$$ $!" > "$RUNS.new"; mv "$RUNS.new" "$RUNS.pids"; wait')
    made = helped(web, asking)
    pids = Path(f"{asking.log}.pids")

    def resolve(_: int) -> type[BaseException] | Origin:
        try:
            return made.resolve(TRACK)
        except Cancelled as error:
            return type(error)

    with ThreadPoolExecutor(4) as threads:
        outcomes = threads.map(resolve, range(4))
        wait_until(pids.exists)
        began = time.monotonic()
        web.cancel.set() if end == "cancel" else web.abort()
        assert list(outcomes) == [Cancelled] * 4
    assert time.monotonic() - began < 1
    wait_until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))
    assert asking.runs == 1

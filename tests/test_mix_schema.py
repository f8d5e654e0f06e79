"""docs/mix.schema.json and the reader of our JSON say the same."""

from __future__ import annotations

import ast
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cachestore.errors import MixError
from exporter_plugin.mix import read_mix
from exporter_plugin.readers import mix_json

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUSE = Path(__file__).parent.parent
SCHEMA: dict[str, Any] = json.loads((HOUSE / "docs" / "mix.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def samples() -> Iterator[Any]:
    """Yield every mix that a page shows."""
    for page in (HOUSE / "README.md", HOUSE / "docs" / "formats.md"):
        for block in re.findall(r"^```json\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
            if "bundle" not in (document := json.loads(block)):
                yield document


def is_mix(document: object) -> bool:
    try:
        read_mix("-", stdin=io.BytesIO(json.dumps(document).encode()))
    except MixError:
        return False
    return True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_mix_that_a_page_shows_is_valid_and_can_be_read() -> None:
    documents = list(samples())
    assert len(documents) >= 2
    for document in documents:
        VALIDATOR.validate(document)
        assert is_mix(document)


def test_the_schema_has_the_fields_that_the_reader_asks_for() -> None:
    calls = [node for node in ast.walk(ast.parse(Path(mix_json.__file__).read_text())) if isinstance(node, ast.Call)]
    asked = {
        str(call.args[0].value)
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in {"exact", "shown", "number", "value"}
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    track = SCHEMA["$defs"]["track"]["properties"]
    assert asked == set(SCHEMA["properties"]) | set(track)
    page = (HOUSE / "docs" / "formats.md").read_text().partition("\n### ")[0]
    assert set(track) - set(re.findall(r"`(\w+)`", page)) == set()


VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        0.5,
        124,
        1e6,
        "",
        "s",
        "My Source",
        "file",
        "http://h/a",
        "HTTPS://h",
        "http:///a",
        "a\nb",
        [],
        {},
    ]
)
TRACKS = st.dictionaries(st.sampled_from([*SCHEMA["$defs"]["track"]["properties"], "mood"]), VALUES, max_size=6)
# Most of these are wrong; those that are right but for one field find more.
NEARLY = st.tuples(
    st.sampled_from([{"source": "s", "id": "1"}, {"url": "http://h/a", "id": None}, {"path": "a.wav", "url": None}]),
    st.dictionaries(st.sampled_from([*SCHEMA["$defs"]["track"]["properties"]]), VALUES, max_size=2),
).map(lambda both: both[0] | both[1])
DOCUMENTS = st.fixed_dictionaries(
    {"tracks": VALUES | st.lists(TRACKS | NEARLY | VALUES, max_size=2)}, optional={"name": VALUES}
)


@given(DOCUMENTS | VALUES)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
def test_what_the_schema_allows_is_what_the_reader_reads(document: object) -> None:
    assert VALIDATOR.is_valid(document) == is_mix(document)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_numbers_that_are_none_are_refused(number: str) -> None:
    with pytest.raises(MixError):
        read_mix("-", stdin=io.BytesIO(f'{{"tracks": [{{"path": "a", "bpm": {number}}}]}}'.encode()))

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from netdyno.base import documents
from netdyno.base.documents import DEEPEST, SEAL, is_as_sealed, parse_json, read_document, require_schema, seal

Refuses = Callable[[Callable[[], object]], str]


def _nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_a_document_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema": 1, "text": "\\ud83d\\ude00 é", "list": [1.5, null]}')
    assert read_document(tmp_path / "a.json") == {"schema": 1, "text": "😀 é", "list": [1.5, None]}
    (tmp_path / "deep.json").write_text(_nested(DEEPEST))
    json.dumps(read_document(tmp_path / "deep.json"))


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "9" * 5000, _nested(DEEPEST + 1), _nested(900),
     "[" * 100_000, '{"a":' + "[" * 900 + "]" * 900 + "}", "\ufeff{}", '{"a": "\t"}'],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_is_no_document(text: str, tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "a.json").write_text(text)
    assert "a.json" in refuses(lambda: read_document(tmp_path / "a.json"))


def test_bytes_and_values_are_bounded(tmp_path: Path, refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(300 * 10**6)
    assert "larger" in refuses(lambda: read_document(tmp_path / "a.json"))
    monkeypatch.setattr(documents, "MOST_VALUES", 10)
    for text in ("[" + "1," * 20 + "1]", "[" * 20 + "]" * 20, '{"a":' * 20 + "{}" + "}" * 20):
        assert "more than 10 values" in refuses(lambda text=text: parse_json(text.encode(), "x"))


def test_what_other_programs_write_beyond_json_is_let_through_where_it_is_meant_to_be() -> None:
    assert parse_json(b'{"a": [Infinity]}', "x") == {"a": [float("inf")]}


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', '{"a": [-Infinity]}'])
def test_nothing_beyond_json_where_that_is_meant(text: str, refuses: Refuses) -> None:
    assert "not JSON" in refuses(lambda: parse_json(text.encode(), "x", strict=True))


def test_schemas() -> None:
    require_schema({}, "x", 1)
    require_schema({"schema": 2}, "x", 2)


@pytest.mark.parametrize("schema", [99, 3, 2**70, 0, -1, True, 1.0, "1", None, []])
def test_schemas_that_are_not_known(schema: object, refuses: Refuses) -> None:
    message = refuses(lambda: require_schema({"schema": schema}, "run.json", 2))
    assert "run.json" in message
    assert ("a newer one wrote it" in message) == (type(schema) is int and schema > 2)


def test_a_sealed_document_tells_that_it_was_changed() -> None:
    document = {"schema": 1, "é": "\U0001f600", "x": [1.0, 0.1, 1e300, None], "inner": {10: (1, 2), 9: True}}
    text = json.dumps(seal(document))
    assert is_as_sealed(json.loads(text)) and is_as_sealed(json.loads(json.dumps(json.loads(text), indent=3)))
    assert is_as_sealed(document), "one of before seals has none"
    for old, new in (
        ("0.1", "0.2"),
        ('"x"', '"y"'),
        ("true", "1"),
        ("1.0", "1"),
        (SEAL, "seam"),
        ("sha256 of", "sha257 of"),
    ):
        assert old in text and not is_as_sealed(json.loads(text.replace(old, new, 1))), old
    assert is_as_sealed(json.loads(json.dumps(seal(seal(document)))))

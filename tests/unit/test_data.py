"""Every kind of bad data is refused with file, line and what to do; nothing raises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.data import check_file, read_rows
from tests.support import ROW, write_rows

GOOD = json.dumps(ROW)


def chat(*messages: object) -> str:
    return json.dumps({"messages": list(messages)})


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        ('{"messages": [', "broken-json", "column"),
        ("not json", "broken-json", "broken JSON"),
        ("[" * 100_000, "broken-json", "broken JSON"),
        ('{"messages": NaN}', "broken-json", "broken JSON"),
        ("[]", "not-a-chat", "a list, not an object"),
        ("3", "not-a-chat", "a number"),
        ("null", "not-a-chat", "null"),
        ("{}", "no-messages", "has no messages"),
        ('{"conversations": []}', "no-messages", "ShareGPT"),
        ('{"instruction": "a", "output": "b"}', "no-messages", "Alpaca"),
        ('{"prompt": "a", "chosen": "b"}', "no-messages", "prompt"),
        ('{"messages": "hi"}', "no-messages", "text, not a list"),
        ('{"messages": []}', "no-messages", "empty"),
        (chat("hi"), "bad-message", "message 1 is text"),
        (chat({"content": "x"}), "unknown-role", "no role"),
        (chat({"role": "human", "content": "x"}), "unknown-role", "'user'"),
        (chat({"role": "gpt", "content": "x"}), "unknown-role", "'assistant'"),
        (chat({"role": "wizard\x1b[31m", "content": "x"}), "unknown-role", "'wizard'"),
        (chat({"role": 3, "content": "x"}), "unknown-role", "a number"),
        (chat({"role": "user"}), "bad-content", "content is missing"),
        (chat({"role": "user", "content": None}), "bad-content", "null"),
        (chat({"role": "user", "content": [{"type": "text"}]}), "bad-content", "a list"),
        (chat({"role": "user", "content": 5}), "bad-content", "a number"),
    ],
)
def test_a_bad_row_is_named_with_its_line(tmp_path: Path, line: str, kind: str, words: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n{GOOD}\n")
    report = check_file(path)
    assert (report.rows, report.usable, report.error_count) == (3, 2, 1)
    (problem,) = report.errors
    assert (problem.kind, problem.file, problem.line) == (kind, str(path), 3)
    assert words in str(problem) and "\x1b" not in str(problem)


def test_invalid_utf8_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"messages": "\xff"}\n')
    (problem,) = check_file(path).errors
    assert problem.kind == "invalid-utf8" and problem.line == 2 and "byte 15" in problem.message


@pytest.mark.parametrize(("make", "kind"), [(lambda p: None, "missing-file"), (lambda p: p.mkdir(), "not-a-file"),
                                            (lambda p: p.write_text(""), "empty-file"), (lambda p: p.write_text("\n \n"), "empty-file")])  # fmt: skip
def test_bad_files(tmp_path: Path, make: object, kind: str) -> None:
    path = tmp_path / "d.jsonl"
    make(path)  # type: ignore[operator]
    report = check_file(path, setting="eval_path")
    assert [(p.kind, p.setting) for p in report.errors] == [(kind, "eval_path")] and report.error_count == 1


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_rows(tmp_path / "d.jsonl")

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    (problem,) = check_file(path).errors
    assert problem.kind == "unreadable-file" and "Permission denied" in problem.message


def test_all_bad_rows_are_counted_and_the_first_ten_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("x\n" * 25 + f"{GOOD}\n")
    report = check_file(path)
    assert report.error_count == 25 and [p.line for p in report.errors] == list(range(1, 11)) and report.usable == 1


def test_rows_without_an_answer_are_legal_but_counted(tmp_path: Path) -> None:
    rows = [
        ROW,
        {"messages": [{"role": "user", "content": "x"}]},
        {"messages": [{"role": "assistant", "content": " "}]},
    ]
    report = check_file(write_rows(tmp_path / "d.jsonl", rows))
    assert (report.rows, report.usable, report.unanswered, report.error_count) == (3, 1, 2, 0)


def test_bom_crlf_blank_lines_and_extra_keys_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    extra = json.dumps({"id": 1, "messages": [{"role": "assistant", "content": "ok", "name": "x"}]})
    path.write_bytes(b"\xef\xbb\xbf" + f"{GOOD}\r\n\r\n{extra}\r\n".encode())
    report = check_file(path)
    assert (report.rows, report.usable, report.errors) == (2, 2, [])
    assert list(read_rows(path)) == [ROW["messages"], [{"role": "assistant", "content": "ok"}]]


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    import hashlib

    path = write_rows(tmp_path / "d.jsonl", 3)
    report = check_file(path)
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and report.bytes == path.stat().st_size

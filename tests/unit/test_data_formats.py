"""Every format in every shape is read without hand work: the rows, the messages, and what was detected."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.data import Cancelled, DataReport, Reading, check_file, check_sources, read_chats, read_rows
from engine.data.jsonscan import elements
from tests import datafiles

Q, A = "질문 “what”?\nSecond line, with a comma", 'An answer "quoted"; \\n kept — ok'


def chats(count: int) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": f"{Q} {n}"},
                          {"role": "assistant", "content": A}]} for n in range(count)]  # fmt: skip


SHAREGPT = [{"id": f"c{n}", "conversations": [{"from": "human", "value": f"{Q} {n}"}, {"from": "gpt", "value": A},
                                              {"from": "human", "value": "more"}, {"from": "gpt", "value": "yes"}]}
            for n in range(7)]  # fmt: skip
SHAREGPT_ROLES = [
    {"conversations": [{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": A}]} for n in range(5)
]
ALPACA = [{"instruction": f"Do {n}", "input": "this" if n % 2 else "", "output": A} for n in range(6)]
PROMPTS = [{"prompt": f"{Q} {n}", "completion": A} for n in range(5)]
QUERIES = [{"query": f"{Q} {n}", "response": A, "system": "be kind"} for n in range(4)]
TEXTS = [{"text": f"{Q} {n}"} for n in range(9)]
SHAPES: dict[str, tuple[list[dict[str, Any]], str, int]] = {
    "messages": (chats(8), "messages", 24),
    "sharegpt": (SHAREGPT, "sharegpt", 28),
    "sharegpt_roles": (SHAREGPT_ROLES, "sharegpt", 10),
    "alpaca": (ALPACA, "alpaca", 12),
    "prompt": (PROMPTS, "prompt_completion", 10),
    "query": (QUERIES, "query_response", 12),
    "text": (TEXTS, "text", 9),
}
FORMATS: dict[str, tuple[Callable[[Path, Any], Path], str, str]] = {
    "jsonl": (datafiles.jsonl, "a.jsonl", "JSONL"),
    "jsonl_named_json": (datafiles.jsonl, "a.json", "JSONL"),
    "jsonl_no_suffix": (datafiles.jsonl, "a", "JSONL"),
    "gzip": (datafiles.gzipped, "a.jsonl.gz", "JSONL, gzip"),
    "json": (datafiles.json_list, "a.json", "JSON"),
    "json_in_one_line": (lambda p, rows: datafiles.json_list(p, rows, None), "a.json", "JSON"),
    "json_object": (datafiles.json_object, "a.json", "JSON"),
    "json_object_in_one_line": (lambda p, rows: datafiles.json_object(p, rows, None, "rows"), "a.json", "JSON"),
    "json_values": (datafiles.values, "a.json", "JSON"),
    "csv": (datafiles.table, "a.csv", "CSV"),
    "csv_semicolons": (lambda p, rows: datafiles.table(p, rows, ";"), "a.csv", "CSV"),
    "csv_with_bom": (lambda p, rows: datafiles.table(p, rows, encoding="utf-8-sig"), "a.csv", "CSV"),
    "csv_python_lists": (lambda p, rows: datafiles.table(p, rows, python=True), "a.csv", "CSV"),
    "tsv": (lambda p, rows: datafiles.table(p, rows, "\t"), "a.tsv", "TSV"),
    "parquet": (datafiles.parquet, "a.parquet", "Parquet"),
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_in_each_format(tmp_path: Path, shape: str, format: str) -> None:
    rows, name, messages = SHAPES[shape]
    write, file, title = FORMATS[format]
    path = write(tmp_path / file, rows)
    report = check_file(path)
    assert report.errors == [] and report.format == title and report.shape == name and report.mapping
    assert (report.rows, report.usable, report.messages) == (len(rows), len(rows), messages)
    assert report.bytes == path.stat().st_size and len(report.sha256) == 64 and not report.tallies
    assert list(read_rows(path)) == list(read_rows(datafiles.jsonl(tmp_path / "same.jsonl", rows)))


def test_roles_and_turns_of_each_shape(tmp_path: Path) -> None:
    def first(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return next(read_rows(datafiles.jsonl(tmp_path / "x.jsonl", rows)))

    assert first(SHAREGPT) == [{"role": "user", "content": f"{Q} 0"}, {"role": "assistant", "content": A},
                               {"role": "user", "content": "more"}, {"role": "assistant", "content": "yes"}]  # fmt: skip
    assert first(ALPACA[1:]) == [{"role": "user", "content": "Do 1\nthis"}, {"role": "assistant", "content": A}]
    assert first(QUERIES)[0] == {"role": "system", "content": "be kind"}
    assert first(PROMPTS) == [{"role": "user", "content": f"{Q} 0"}, {"role": "assistant", "content": A}]
    row = {"system": "s", "history": [["q1", "a1"], ["q2", "a2"]], "instruction": "q3", "input": "", "output": "a3"}
    assert [(m["role"], m["content"]) for m in first([row])] == [
        ("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2"), ("user", "q3"), ("assistant", "a3")]  # fmt: skip
    turns = {"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
             "completion": [{"role": "assistant", "content": "a"}]}  # fmt: skip
    assert [m["role"] for m in first([turns])] == ["system", "user", "assistant"]


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "서울"}}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [TOOL["function"]], [json.dumps(TOOL)]])
@pytest.mark.parametrize("call", [
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": '{"city": "서울"}'}]},
    {"role": "assistant", "content": "", "tool_calls": json.dumps([CALL])},
    {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "서울"}'}},
    {"role": "function_call", "content": '{"name": "weather", "arguments": {"city": "서울"}}'},
    {"role": "tool_call", "content": '[{"name": "weather", "arguments": {"city": "서울"}}]'},
    {"role": "assistant", "content": [{"type": "tool_call", "value": '{"name": "weather", "arguments": {"city": "서울"}}'}]},
    {"role": "assistant", "content": [{"type": "text", "text": ""}, {"type": "tool_use", "name": "weather", "input": {"city": "서울"}}]},
])  # fmt: skip
@pytest.mark.parametrize("answer", [
    {"role": "tool", "content": '{"t":3}'}, {"role": "observation", "content": '{"t":3}'}, {"role": "tool", "content": {"t": 3}},
    {"role": "tool_response", "content": [{"type": "text", "text": '{"t":3}'}]},
])  # fmt: skip
def test_tool_calls_in_all_their_forms(
    tmp_path: Path, tools: Any, call: dict[str, Any], answer: dict[str, Any]
) -> None:
    row = {
        "tools": tools,
        "messages": [{"role": "user", "content": "?"}, call, answer, {"role": "assistant", "content": "3"}],
    }
    path = datafiles.jsonl(tmp_path / "x.jsonl", [row])
    report = check_file(path)
    assert report.errors == [] and report.with_tools == 1 and not report.tallies
    (chat,) = read_chats(path)
    assert chat.tools == [TOOL]
    assert chat.messages[1] == {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert chat.messages[2] == {"role": "tool", "content": '{"t":3}'}


def test_sharegpt_with_tools(tmp_path: Path) -> None:
    row = {"tools": json.dumps([TOOL["function"]]), "system": "s", "conversations": [
        {"from": "human", "value": "?"}, {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "서울"}}'},
        {"from": "observation", "value": "3"}, {"from": "gpt", "value": "It is 3"}]}  # fmt: skip
    (chat,) = read_chats(datafiles.jsonl(tmp_path / "x.jsonl", [row]))
    assert [m["role"] for m in chat.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert chat.messages[2]["tool_calls"] == [CALL] and chat.tools == [TOOL]


def test_thoughts_and_calls_among_the_parts_of_an_answer(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "value": "hm"}, {"type": "text", "value": "Let me see."},
             {"type": "tool_call", "value": '{"name": "weather", "arguments": {"city": "서울"}}'},
             {"type": "tool_call", "value": json.dumps(CALL)}]  # fmt: skip
    asked = [{"type": "text", "value": "?"}]
    row = {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": parts}]}
    for path in (datafiles.jsonl(tmp_path / "x.jsonl", [row]), datafiles.parquet(tmp_path / "x.parquet", [row])):
        (chat,) = read_chats(path)
        assert chat.messages[1] == {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [CALL, CALL],
            "reasoning_content": "hm",
        }
    thinking = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "3"}]}]}  # fmt: skip
    (chat,) = read_chats(datafiles.jsonl(tmp_path / "y.jsonl", [thinking]))
    assert chat.messages[1] == {"role": "assistant", "content": "3", "reasoning_content": "hm"}


def test_weights_of_other_turns_are_no_remark(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}", "weight": 0}, {"role": "assistant", "content": "a", "weight": weight}],
             "weight": 0, "training": False} for n, weight in enumerate((1, 0.5, None))]  # fmt: skip
    assert not check_file(datafiles.jsonl(tmp_path / "x.jsonl", rows)).tallies


def test_a_call_and_its_keys_survive(tmp_path: Path) -> None:
    call = {**CALL, "id": "c1"}
    row = {"messages": [{"role": "user", "content": "?", "name": "me", "weight": 0}, {"role": "assistant", "content": None, "tool_calls": [call]},
                        {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "weather"},
                        {"role": "assistant", "content": "3", "reasoning_content": "hm", "tool_calls": None}], "tools": "[]", "id": 3}  # fmt: skip
    (chat,) = read_chats(datafiles.jsonl(tmp_path / "x.jsonl", [row]))
    assert chat.tools is None and chat.messages == [
        {"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "c1", "name": "weather"},
        {"role": "assistant", "content": "3", "reasoning_content": "hm"}]  # fmt: skip


@pytest.mark.parametrize("content", [
    [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], [{"type": "text", "value": "ab"}], [{"text": "ab"}], ["a", "b"],
    [{"type": "text", "text": "ab", "value": None, "image": None}],
])  # fmt: skip
def test_content_as_a_list_of_parts(tmp_path: Path, content: Any) -> None:
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": content}]}
    for path in (datafiles.jsonl(tmp_path / "x.jsonl", [row]), datafiles.parquet(tmp_path / "x.parquet", [row])):
        assert list(read_rows(path)) == [[{"role": "user", "content": "ab"}, {"role": "assistant", "content": "ab"}]]
        assert not check_file(path).errors


@pytest.mark.parametrize(("row", "shape"), [
    ({"instruction": "a", "context": "b", "response": "c", "category": "d"}, "alpaca"),
    ({"question": "a", "answer": "b"}, "query_response"),
    ({"input": "a", "output": "b"}, "query_response"),
    ({"prompt": "a", "response": "b"}, "prompt_completion"),
    ({"conversation": [{"human": 1, "from": "user", "value": "a"}, {"from": "bot", "value": "b"}]}, "sharegpt"),
    ({"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sharegpt"),
    ({"messages": [{"role": "human", "content": "a"}, {"role": "gpt", "content": "b"}]}, "sharegpt"),
    ({"talk": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
    ({"messages": [{"role": "developer", "content": "a"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
    ({"messages": [{"role": "User", "content": "a"}, {"role": "Assistant", "content": "b"}]}, "messages"),
])  # fmt: skip
def test_relatives_of_the_shapes(tmp_path: Path, row: dict[str, Any], shape: str) -> None:
    path = datafiles.jsonl(tmp_path / "x.jsonl", [row])
    report = check_file(path)
    assert (report.shape, report.usable, report.errors) == (shape, 1, [])
    assert next(read_rows(path))[-1] == {"role": "assistant", "content": "c" if "context" in row else "b"}


TWO = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(("row", "shape"), [
    ({"id": "x", "system_prompt": "s", "question": "q", "response": "a"}, "query_response"),
    ({"Question": "q", "Answer": "a"}, "query_response"),
    ({"Instruction": "q", "Input": "", "Response": "a"}, "alpaca"),
    ({"inputs": "q", "targets": "a"}, "query_response"),
    ({"user": "q", "assistant": "a"}, "query_response"),
    ({"id": "1", "category": "c", "q": "q", "a": "a", "sources": ["s"]}, "query_response"),
    ({"input": "q", "target": "a"}, "query_response"),
    ({"input": TWO[:1], "target": "a"}, "query_response"),
    ({"conversation": [{"input": "q", "output": "a"}]}, "sharegpt"),
    ({"conversation": [{"system": "s", "human": "q", "assistant": "a"}]}, "sharegpt"),
    ({"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}, "sharegpt"),
    ({"prompt": "q", "prompt_id": "1", "messages": TWO, "category": "x"}, "messages"),
    ({"messages": json.dumps(TWO)}, "messages"),
    (TWO, "messages"),
    ({"messages": TWO, "functions": [{"name": "f", "parameters": {}}]}, "messages"),
    ({"messages": [{"role": "user", "value": "q"}, {"role": "assistant", "value": "a"}]}, "messages"),
    ({"query": "q", "response": "a", "history": [], "tools": ""}, "query_response"),
])  # fmt: skip
def test_what_public_data_look_like(tmp_path: Path, row: Any, shape: str) -> None:
    for path in (datafiles.jsonl(tmp_path / "x.jsonl", [row] * 2), datafiles.json_list(tmp_path / "x.json", [row] * 2),
                 datafiles.values(tmp_path / "y.json", [row] * 2), datafiles.json_list(tmp_path / "y.jsonl", [row] * 2)):  # fmt: skip
        if isinstance(row, list) and path.suffix == ".json":
            continue
        report = check_file(path)
        assert (report.shape, report.usable, report.errors) == (shape, 2, []) or isinstance(row, list), path
        messages = next(read_rows(path))
        assert messages[-2:] == TWO
        assert (messages[0]["role"] == "system") == ("system" in json.dumps(row))


def test_arguments_from_columns_are_those_of_their_own_call(tmp_path: Path) -> None:
    """Parquet gives every call the arguments of all calls, empty where they were not."""
    rows = [{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": None, "tool_calls": [
        {"type": "function", "function": {"name": "f", "arguments": {name: 1}}}]}]} for name in ("a", "b")]  # fmt: skip
    path = datafiles.parquet(tmp_path / "x.parquet", rows)
    found = [messages[1]["tool_calls"][0]["function"]["arguments"] for messages in read_rows(path)]
    assert found == [{"a": 1}, {"b": 1}] and not check_file(path).errors


def test_a_mark_of_order_before_any_json(tmp_path: Path) -> None:
    for make in (datafiles.jsonl, datafiles.json_list, datafiles.values, datafiles.json_object):
        path = make(tmp_path / "x.json", PROMPTS)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert (check_file(path).usable, check_file(path).errors) == (5, [])


def test_lists_that_python_printed_hold_only_what_json_knows(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("messages\n\"[{'role': 'user', 'content': 10000000000000000000000000}]\"\n")
    assert check_file(path).errors[0].kind == "no-messages"


def test_what_is_detected_can_be_overruled(tmp_path: Path) -> None:
    path = datafiles.jsonl(tmp_path / "x.jsonl", [{"frage": "q", "antwort": "a", "text": "x"}])
    assert check_file(path).shape == "text"
    reading = Reading("query_response", {"query": "frage", "response": "antwort"})
    report = check_file(path, reading=reading)
    assert (report.shape, report.errors, report.usable) == ("query_response", [], 1)
    assert list(read_rows(path, reading)) == [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]
    auto = Reading("auto", {"query": "frage", "response": "antwort"})
    assert check_file(path, reading=auto).shape == "query_response"
    spoken = datafiles.jsonl(
        tmp_path / "y.jsonl", [{"chat": [{"who": "user", "says": "q"}, {"who": "assistant", "says": "a"}]}]
    )
    named = Reading("messages", {"messages": "chat", "role": "who", "content": "says"})
    assert check_file(spoken, reading=named).errors == []
    assert list(read_rows(spoken, named)) == [[{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]]
    roles = datafiles.jsonl(
        tmp_path / "z.jsonl", [{"messages": [{"role": "user", "content": "q"}, {"role": "gpt", "content": "a"}]}]
    )
    assert (
        check_file(roles, reading=Reading("messages")).errors
        and not check_file(roles, reading=Reading("sharegpt")).errors
    )


def test_several_files_with_their_amounts(tmp_path: Path) -> None:
    one = datafiles.jsonl(tmp_path / "a,b.jsonl", chats(10))
    two = datafiles.table(tmp_path / "two.csv", ALPACA)
    three = datafiles.parquet(tmp_path / "three.parquet", SHAREGPT)
    report = check_sources(f"{one}:4,{two}:50%, {three}:x2")
    assert report.errors == [] and [file.rows for file in report.files] == [10, 6, 7] and report.rows == 23
    assert report.samples() == 4 + 3 + 14 and report.format == "JSONL and CSV and Parquet"
    assert [part["amount"] for part in report.record()["files"]] == ["4", "50%", "x2"]
    assert check_sources(str(one)).rows == 10 and check_sources(f"{one}:3").samples() == 3
    assert report.sha256 != check_sources(f"{one}:5,{two}:50%,{three}:x2").sha256
    missing = check_sources(f"{one},{tmp_path / 'none.jsonl'}")
    assert [(p.kind, p.file) for p in missing.errors] == [("missing-file", str(tmp_path / "none.jsonl"))]
    mixed = check_sources(f"{one},{datafiles.jsonl(tmp_path / 't.jsonl', TEXTS)}")
    assert [p.kind for p in mixed.errors] == ["mixed-shapes"]


def test_skipping_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        datafiles.text(chats(3)) + "{\n" + '{"messages": []}\n{"messages": 3}\n' + datafiles.text(chats(4)[3:])
    )
    reading = Reading(skip=True)
    report = check_file(path, reading=reading)
    assert report.errors == [] and report.error_count == 0 and (report.rows, report.usable) == (7, 4)
    assert report.skipped == {"broken-json": 1, "no-messages": 2} == report.record()["skipped"]
    assert len(list(read_rows(path, reading))) == 4
    path.write_text("{\n{\n")
    assert [p.kind for p in check_file(path, reading=reading).errors] == ["broken-json"]


def test_a_check_tells_its_progress_and_can_be_withdrawn(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{n}"}, {"role": "assistant", "content": "x" * 5000}]}
        for n in range(1000)
    ]
    for path in (datafiles.jsonl(tmp_path / "x.jsonl", rows), datafiles.parquet(tmp_path / "x.parquet", rows)):
        size, told = path.stat().st_size, []
        found: list[DataReport] = []
        thread = threading.Thread(target=lambda: found.append(check_file(path, progress=lambda *now: told.append(now))))
        thread.start()
        thread.join()
        assert (
            found[0].rows == 1000
            and told[-1] == (size, size)
            and len(told) >= 3
            and all(total == size for _, total in told)
        )
        calls = iter([False, False])
        with pytest.raises(Cancelled):
            check_file(path, stop=lambda: next(calls, True))


def test_elements_of_json_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the text falls into blocks, the elements and their lines are the same."""
    rows = [{"a": '["}\\', "b": [1, {"c": "\n{"}], "n": n, "t": "x" * (n * 7 % 60)} for n in range(40)]
    for indent in (None, 1):
        path = datafiles.json_list(tmp_path / "x.json", rows, indent)
        for block in (16, 37, 1024):
            monkeypatch.setattr("engine.data.jsonscan._BLOCK", block)
            with path.open("rb") as file:
                found = list(elements(file, "list"))
            assert [json.loads(raw) for _, raw in found] == rows  # type: ignore[arg-type]
            whole = path.read_text()
            assert [line for line, _ in found][:3] == [whole[: whole.index(f'"n": {n}')].count("\n") + 1 - (indent or 0) * _lines(rows[n], indent)
                                                       for n in range(3)]  # fmt: skip


def _lines(row: dict[str, Any], indent: int | None) -> int:
    """Lines of a laid out row before its ``n``."""
    text = json.dumps(row, indent=indent)
    return text[: text.index('"n":')].count("\n")

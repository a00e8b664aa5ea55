"""Files that are unusual but good are read right; those that look usual and are not are named by kind and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from engine.data import DataReport, Reading, check_file, check_row, check_sources, read_chats, read_rows
from engine.data.sources import parse
from engine.errors import InputError
from tests import datafiles
from tests.support import ROW

U, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
TWO = [U, A]
GOOD = {"messages": [{"role": "user", "content": "good"}, A]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
LINES = datafiles.text([{"messages": [{"role": "user", "content": f"é 서울 😀 {n}"}, A]} for n in range(3)])
TABLE = 'query,response\r\n"q 서울, é","two\r\nlines"\r\nq,a\r\n'


def written(path: Path, data: bytes | list[Any]) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else datafiles.text(data).encode())
    return path


def told(path: Path, **more: Any) -> tuple[DataReport, list[tuple[str, int | None]]]:
    report = check_file(path, **more)
    return report, [(problem.kind, problem.line) for problem in report.errors]


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_other_encodings_are_read_as_they_are(tmp_path: Path, codec: str, pack: Any) -> None:
    name = "" if codec == "utf-8-sig" else f", {codec[:6].upper()}"
    packed = ", gzip" if pack is gzip.compress else ""
    path = written(tmp_path / "d.jsonl", pack(LINES.encode(codec)))
    report = check_file(path)
    assert (report.errors, report.format, report.usable) == ([], f"JSONL{name}{packed}", 3) and not report.tallies
    assert [messages[0]["content"] for messages in read_rows(path)] == [f"é 서울 😀 {n}" for n in range(3)]
    path = written(tmp_path / "d.csv", pack(TABLE.encode(codec)))
    assert check_file(path).format == f"CSV{name}{packed}"
    assert [m["content"] for messages in read_rows(path) for m in messages] == ["q 서울, é", "two\r\nlines", "q", "a"]


def test_a_broken_row_in_another_encoding_is_named(tmp_path: Path) -> None:
    text = LINES + '{"messages": "\ud800"}\n' + "{\n" + LINES
    for codec in ("utf-16", "utf-32-be"):
        path = written(tmp_path / f"{codec}.jsonl", text.encode(codec, "surrogatepass"))
        report, errors = told(path)
        assert errors == [("invalid-utf8", 4), ("broken-json", 5)] and (report.rows, report.usable) == (8, 6)
    cut = written(tmp_path / "cut.jsonl", LINES.encode("utf-16")[:-1])
    assert told(cut)[1] == [("invalid-utf8", 2)] and "nothing after this line" in check_file(cut).errors[0].message


def test_a_file_that_is_torn_is_refused_whatever_is_to_be_skipped(tmp_path: Path) -> None:
    """Not one row of it is left out, but all that follow."""
    cut = written(tmp_path / "cut.jsonl", LINES.encode("utf-16")[:-1])
    rows = datafiles.text([{"messages": [{"role": "user", "content": f"{n}" * 300_000}, A]} for n in range(9)]).encode()
    torn = written(tmp_path / "torn.jsonl.gz", gzip.compress(rows)[:-30])
    for path in (cut, torn):
        report, errors = told(path, reading=Reading(skip=True))
        assert len(errors) == 1 and not report.skipped and "nothing after this line" in report.errors[0].message
        with pytest.raises(InputError):
            list(read_chats(path, Reading(skip=True)))


def test_lines_that_end_in_a_carriage_return_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "d.csv", b"query,response\rq,a\rq2,a2,x\r")
    report, errors = told(path)
    assert errors == [("ragged-row", 3)] and (report.shape, report.usable) == ("query_response", 1)
    path = written(tmp_path / "d.jsonl", LINES.replace("\n", "\r").encode() + b"{\r")
    assert told(path)[1] == [("broken-json", 4)] and check_file(path).usable == 3


@pytest.mark.parametrize(("file", "data", "format"), [
    ("d.csv", LINES.encode(), "JSONL"), ("d.tsv", json.dumps([GOOD] * 3).encode(), "JSON"),
    ("d.csv", json.dumps([GOOD] * 3, indent=1).encode(), "JSON"),
    ("d.jsonl", b"query,response\nq,a\nr,b\ns,c\n", "CSV"), ("d.json", b"query\tresponse\nq\ta\nr\tb\ns\tc\n", "TSV"),
    ("d.txt", b"id;question;answer\n1;q;a\n2;r;b\n3;s;c\n", "CSV"), ("d.csv", b"sep=;\r\nquery;response\r\nq;a\r\nr;b\r\ns;c\r\n", "CSV"),
    ("d.jsonl", json.dumps([GOOD] * 3).encode(), "JSON"), ("d.jsonl", json.dumps(TWO).encode() + b"\n" + LINES.encode()[:-1] + b"\n", "JSONL"),
])  # fmt: skip
def test_what_is_in_a_file_counts_and_not_its_name(tmp_path: Path, file: str, data: bytes, format: str) -> None:
    report = check_file(written(tmp_path / file, data))
    assert (report.errors, report.format) == ([], format) and report.usable == report.rows >= 3


# What no column can hold: contents of several kinds in one row.
MIXED = [
    ("a part without its list", {"messages": [{"role": "user", "content": {"type": "text", "text": "q"}}, A]}, TWO),
    ("tools that answer in the user's turn", {"messages": [U, {"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}}]}, {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "3"}]}, {"type": "text", "text": "so?"}]}, A]},
     [U, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "t", "function": {"name": "f", "arguments": {"x": 1}}}]},
      {"role": "tool", "tool_call_id": "t", "content": "3"}, {"role": "user", "content": "so?"}, A]),
]  # fmt: skip
READ = [
    ("speaker and text", {"dialogue": [{"speaker": "user", "text": "q"}, {"speaker": "assistant", "text": "a"}]}, TWO),
    ("author and content", {"conversation": [{"author": "human", "content": "q"}, {"author": "bot", "content": "a"}]}, TWO),
    ("role and text", {"messages": [{"role": "user", "text": "q"}, {"role": "assistant", "text": "a"}]}, TWO),
    ("from and text", {"conversations": [{"from": "Human", "text": "q"}, {"from": "GPT", "text": "a"}]}, TWO),
    ("roles beside texts", {"conversations": {"from": ["human", "gpt"], "value": ["q", "a"]}}, TWO),
    ("one answer in a list", {"question": "q", "answer": ["a"]}, TWO),
    ("one output in a list", {"instruction": "q", "input": "", "output": ["a"]}, TWO),
    ("parts as a completion", {"prompt": "q", "completion": [{"type": "text", "text": "a"}]}, TWO),
    ("messages as text", {"prompt": json.dumps([U]), "completion": repr([A])}, TWO),
    ("history of messages", {"query": "q", "response": "a", "history": [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"}]},
     [{"role": "user", "content": "q0"}, {"role": "assistant", "content": "a0"}, *TWO]),
    ("system in parts", {"system": [{"type": "text", "text": "s"}], "messages": TWO}, [{"role": "system", "content": "s"}, *TWO]),
    ("Gemini's system", {"systemInstruction": {"parts": [{"text": "s"}]}, "contents": [
        {"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "a"}]}]}, [{"role": "system", "content": "s"}, *TWO]),
    ("reasoning", {"messages": [U, {**A, "reasoning": "hm"}]}, [U, {**A, "reasoning_content": "hm"}]),
    ("thinking", {"messages": [U, {**A, "thinking": "hm"}]}, [U, {**A, "reasoning_content": "hm"}]),
    ("a label of its own", {"prompt": "q", "completion": "a", "label": "sports"}, TWO),
    ("a label of a chat", {"messages": TWO, "label": 1}, TWO),
    ("nothing rejected", {"messages": TWO, "rejected_response": None}, TWO),
    ("a list that is an answer", {"prompt": "q", "completion": '[{"a": 1}]'}, [U, {"role": "assistant", "content": '[{"a": 1}]'}]),
    ("a name used twice in different objects", {"messages": TWO, "meta": {"messages": 1, "role": "x", "content": "y"}}, TWO),
]  # fmt: skip


@pytest.mark.parametrize(("row", "messages"), [case[1:] for case in MIXED], ids=[case[0] for case in MIXED])
def test_unusual_rows_of_json_are_read_right(tmp_path: Path, row: dict[str, Any], messages: list[Any]) -> None:
    path = datafiles.jsonl(tmp_path / "d.jsonl", [row])
    assert check_file(path).errors == [] and list(read_rows(path)) == [messages]


@pytest.mark.parametrize(("row", "messages"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_unusual_rows_are_read_right(tmp_path: Path, row: dict[str, Any], messages: list[Any]) -> None:
    for path in (datafiles.jsonl(tmp_path / "d.jsonl", [row]), datafiles.parquet(tmp_path / "d.parquet", [row])):
        report = check_file(path)
        assert (report.errors, report.usable, report.tallies) == ([], 1, {})
        assert list(read_rows(path)) == [messages]


def pairs(*rows: Any) -> list[Any]:
    return [{"prompt": "p", "completion": "c"}, *rows]


NAMED = [
    ("an empty rejected answer", [GOOD, {"prompt": "p", "chosen": "c", "rejected": ""}], "preference-pairs", "chosen and rejected"),
    ("an empty rejected answer alone", [{"prompt": "o", "chosen": "c", "rejected": "x"}, {"prompt": "p", "chosen": "c", "rejected": ""}],
     "preference-pairs", "chosen"),
    ("an empty rejected response", [GOOD, {**GOOD, "rejected_response": ""}], "preference-pairs", "rejected_response"),
    ("no rejected answer", [{"prompt": "o", "chosen": "c", "rejected": None}, {"prompt": "p", "chosen": "c", "rejected": None}],
     "preference-pairs", "completion=chosen"),
    ("two chats to judge", [GOOD, {"conversation_a": TWO, "conversation_b": TWO, "winner": "a"}], "preference-pairs", "conversation_a"),
    ("two outputs", [GOOD, {"input": {"messages": [U]}, "preferred_output": [A], "non_preferred_output": [A]}], "preference-pairs", "preferred"),
    ("two responses", [GOOD, {"prompt": "p", "response_0": "a", "response_1": "b"}], "preference-pairs", "response_0"),
    ("judged by 1", pairs({"prompt": "p", "completion": "d", "label": 1}), "preference-pairs", "label"),
    ("judged by 0", pairs({"prompt": "p", "completion": "d", "label": 0}), "preference-pairs", "label"),
    ("judged by a word", pairs({"prompt": "p", "completion": "d", "label": "False"}), "preference-pairs", "label"),
    ("token ids", [{"input_ids": [1]}, {"input_ids": [1, 2]}], "unknown-shape", "token ids"),
    ("a message in a line", TWO, "unknown-shape", "a message by itself"),
    ("a question without an answer", [{"question": "q"}, {"question": "r"}], "unknown-shape", "no answer to it"),
    ("messages of nothing", [{"messages": None}, {"messages": None}], "no-messages", "is null"),
    ("text of nothing", [{"text": None}, {"text": None}], "bad-content", "is null"),
    ("several answers", [{"query": "q", "response": "r"}, {"query": "q", "response": ["a", "b"]}], "preference-pairs", "several"),
    ("several questions", [{"query": "q", "response": "r"}, {"query": ["a", "b"], "response": "r"}], "bad-content", "several"),
    ("system of a number", [GOOD, {"system": 3, "messages": TWO}], "bad-content", "system is a number"),
    ("system of pictures", [GOOD, {"system": [{"type": "image"}], "messages": TWO}], "images", "system"),
    ("an empty tool", [GOOD, {"messages": TWO, "tools": [{}]}], "bad-tools", "empty"),
    ("a tool without its function", [GOOD, {"messages": TWO, "tools": [{"type": "function"}]}], "bad-tools", "no name"),
    ("a function that is text", [GOOD, {"messages": TWO, "tools": [{"type": "function", "function": "f"}]}], "bad-tools", "no name"),
    ("a function without a name", [GOOD, {"messages": TWO, "tools": [TOOL, {"function": {"parameters": {}}}]}], "bad-tools", "tool 2"),
    ("messages cut off in a table", b'messages\n"' + json.dumps(TWO).replace('"', '""').encode() + b'"\n"[{""role"": ""us"\n', "no-messages", "no JSON"),
    ("conversations without a comma", b'conversations\n"[{\'from\': \'human\', \'value\': \'q\'} {}]"\n"[{\'from\' }]"\n', "no-messages", "no JSON"),
    ("chats among conversations", [{"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, GOOD],
     "no-messages", "looks like chats"),
    ("a field named twice", LINES.encode().split(b"\n")[0] + b'\n{"messages": [], "messages": [{"role": "user", "content": "q"}]}\n',
     "duplicate-field", "'messages' twice"),
    ("a role named twice", LINES.encode().split(b"\n")[0] + b'\n{"messages": [{"role": "user", "role": "assistant", "content": "q"}]}\n',
     "duplicate-field", "'role' twice"),
    ("an answer named twice", b'{"prompt": "p", "completion": "c"}\n{"prompt": "p", "completion": "c", "completion": "d"}\n',
     "duplicate-field", "'completion' twice"),
    ("a zero byte in a row", LINES.encode().split(b"\n")[0] + b'\n{"messages": [{"role": "user", "content": "a\0b"}]}\n', "broken-json", "control"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "kind", "words"), [case[1:] for case in NAMED], ids=[case[0] for case in NAMED])
def test_rows_that_look_good_are_named(tmp_path: Path, data: bytes | list[Any], kind: str, words: str) -> None:
    path = written(
        tmp_path / ("d.csv" if isinstance(data, bytes) and data.startswith((b"messages", b"conv")) else "d.jsonl"), data
    )
    line = 3 if path.suffix == ".csv" else 2
    report, errors = told(path)
    assert (kind, line) in errors, report
    problem = next(problem for problem in report.errors if problem.line == line)
    assert words in str(problem)
    skipping = check_file(path, reading=Reading(skip=True))
    assert skipping.skipped.get(kind) and sum(skipping.skipped.values()) == report.error_count
    assert len(list(read_chats(path, Reading(skip=True)))) == report.usable


def test_a_label_is_what_a_person_says_it_is(tmp_path: Path) -> None:
    path = datafiles.jsonl(tmp_path / "d.jsonl", [{"prompt": "p", "completion": "c", "label": 1}])
    assert told(path)[1] == [("preference-pairs", 1)]
    assert told(path, reading=Reading("prompt_completion"))[1] == []


@pytest.mark.parametrize(
    ("text", "line"), [("[%s,\n%s,\n]", 3), ("[%s,,\n%s]", 2), ("[,%s,\n%s]", 1), ('{"data": [%s,\n%s\n,]}', 3)]
)
def test_commas_that_belong_to_no_row(tmp_path: Path, text: str, line: int) -> None:
    path = written(tmp_path / "d.json", (text % (json.dumps(GOOD), json.dumps(ROW))).encode())
    report, errors = told(path)
    assert errors == [("broken-json", line)] and "comma" in report.errors[0].message and report.usable == 2


def test_lists_after_the_list_are_not_left_out_as_one_row(tmp_path: Path) -> None:
    one = json.dumps([GOOD])
    path = written(tmp_path / "d.json", f"{one}\n{one}\n{one}".encode())
    report, errors = told(path, reading=Reading(skip=True))
    assert errors == [("broken-json", 1)] and "begins in line 2" in report.errors[0].message and not report.skipped


def test_lists_that_are_not_read_are_said(tmp_path: Path) -> None:
    path = written(
        tmp_path / "d.json", json.dumps({"train": [GOOD, ROW], "test": [ROW], "tags": ["a"]}, indent=1).encode()
    )
    report = check_file(path)
    assert (report.rows, report.usable, report.errors) == (2, 2, []) and len(list(read_rows(path))) == 2
    (warning,) = report.warnings()
    assert (warning.kind, warning.severity) == ("further-list", "warning") and warning.line is not None
    assert "'test'" in warning.message and "'train'" in warning.message


def test_blank_texts_are_said_with_their_lines(tmp_path: Path) -> None:
    path = datafiles.jsonl(tmp_path / "d.jsonl", [{"text": "a"}, {"text": ""}, {"text": " \n"}])
    report = check_file(path)
    (warning,) = report.warnings()
    assert (warning.kind, warning.line, report.usable, report.errors) == ("empty-text", 2, 1, [])
    assert "2 of 3 rows hold no text (also lines 3)" in warning.message
    assert told(datafiles.jsonl(tmp_path / "d.jsonl", [{"text": ""}, {"text": " "}]))[1] == [("empty-text", 1)]


def test_a_refusal_says_that_rows_could_be_skipped_where_some_are_good(tmp_path: Path) -> None:
    some = check_file(datafiles.jsonl(tmp_path / "d.jsonl", [GOOD, 3, 4]))
    assert ["on_bad_rows" in problem.hint for problem in some.errors] == [True, False]
    assert "on_bad_rows" not in str(check_file(datafiles.jsonl(tmp_path / "d.jsonl", [3, 4])).errors)
    assert "on_bad_rows" not in str(check_file(tmp_path / "none.jsonl").errors)


@pytest.mark.parametrize(("data", "words"), [
    (gzip.compress(gzip.compress(LINES.encode())), "gzip twice"), (gzip.compress(b"PAR1" + bytes(40)), "Parquet file packed"),
    (b"x" * 257 + b"ustar\x0000", "tar archive"), (gzip.compress(b"x" * 257 + b"ustar\x0000"), "tar archive"),
    (b"\x04\x22\x4d\x18" + bytes(20), "LZ4"), (b"Rar!\x1a\x07", "RAR"), (b"\xd0\xcf\x11\xe0\xa1", "spreadsheet"), (b"ORC\x08", "ORC"),
    (b"Obj\x01\x04", "Avro"), (b"FEA1", "Feather"), (b"\x93NUMPY\x01", "NumPy"), (b"GGUF\x03", "weights"),
    (b"\x40\x00\x00\x00\x00\x00\x00\x00{}", "binary"),
], ids=lambda value: value if isinstance(value, str) else "file")  # fmt: skip
def test_more_files_that_are_none_of_ours_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    (problem,) = check_file(written(tmp_path / "d.jsonl", data)).errors
    assert words in problem.message and problem.hint


def test_a_header_that_is_no_utf8_is_read_and_named(tmp_path: Path) -> None:
    cell = json.dumps(TWO).replace('"', '""')
    path = written(tmp_path / "d.csv", f'conversación\n"{cell}"\n'.encode("latin-1"))
    report = check_file(path)
    assert (report.errors, report.usable) == ([], 1) and "conversaci\ufffdn" in report.mapping
    assert list(read_rows(path)) == [TWO]
    assert told(path, reading=Reading("auto", {"messages": "conversaci\udcf3n"}))[1] == []


def test_a_header_alone_is_told_what_it_lacks(tmp_path: Path) -> None:
    (problem,) = check_file(written(tmp_path / "d.csv", b"query,response")).errors
    assert problem.kind == "empty-file" and "columns" in problem.hint


def test_a_pattern_that_fits_nothing_and_a_folder_say_so(tmp_path: Path) -> None:
    (nothing,) = check_sources(f"{tmp_path}/*.jsonl").errors
    assert (nothing.kind, nothing.message) == ("missing-file", "fits no file")
    (folder,) = check_sources(str(tmp_path)).errors
    assert folder.kind == "not-a-file" and "*.jsonl" in folder.hint


def test_rows_that_are_skipped_are_told_with_their_lines_in_every_file(tmp_path: Path) -> None:
    one = datafiles.jsonl(tmp_path / "a.jsonl", [GOOD, 3, ROW, {"messages": 4}])
    two = datafiles.jsonl(tmp_path / "b.jsonl", [{"messages": TWO}, 5])
    report = check_sources(f"{one},{two}", reading=Reading(skip=True))
    assert (report.rows, report.usable, report.errors) == (6, 3, []) and report.skipped == {
        "not-a-chat": 2,
        "no-messages": 1,
    }
    told = {(w.kind, w.file, w.line, w.severity) for w in report.warnings("train_path")}
    assert told == {("not-a-chat", str(one), 2, "warning"), ("no-messages", str(one), 4, "warning")}
    assert [part["skipped"] for part in report.record()["files"]] == [
        {"not-a-chat": 1, "no-messages": 1},
        {"not-a-chat": 1},
    ]


def test_one_row_is_judged_like_a_file() -> None:
    assert check_row(b'{"messages": [], "messages": [{"role": "user", "content": "q"}]}')[0] == "duplicate-field"  # type: ignore[index]


def test_odd_columns_of_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(columns: list[Any], names: list[str]) -> Path:
        path = tmp_path / "d.parquet"
        pq.write_table(pa.Table.from_arrays(columns, names=names), path)
        return path

    as_bytes = table([pa.array(["é?".encode()]), pa.array([b"a"])], ["query", "response"])
    assert [[m["content"] for m in messages] for messages in read_rows(as_bytes)] == [["é?", "a"]]
    picture = table([pa.array([b"\xff\xd8\xff"]), pa.array([b"a"])], ["query", "response"])
    assert told(picture)[1] == [("bad-content", 1)], "bytes that are no text are never trained on as one"
    twice = table([pa.array(["q"]), pa.array(["other"]), pa.array(["a"])], ["query", "query", "response"])
    report, errors = told(twice)
    assert errors == [("duplicate-field", None)] and "two columns named query" in report.errors[0].message
    late = table([pa.array(["q"]), pa.array(["a"]), pa.array([2**62], pa.timestamp("us"))], ["query", "response", "at"])
    assert [kind for kind, _ in told(late)[1]] == ["broken-parquet"]


@pytest.mark.parametrize("amount", ["1e3", "-1", "x1.5", "xnan", "%", "1.5", "", "all", "\uff15"])
def test_a_part_of_a_file_that_cannot_be_understood(tmp_path: Path, amount: str) -> None:
    path = written(tmp_path / "d.jsonl", [GOOD])
    with pytest.raises(InputError) as refused:
        parse(f"{path}:{amount}")
    (problem,) = refused.value.problems
    assert (problem.kind, problem.setting, problem.file) == (
        "bad-amount",
        "train_path",
        str(path),
    ) and amount in problem.message


def test_a_prompt_called_input(tmp_path: Path) -> None:
    path = written(
        tmp_path / "d.jsonl",
        [{"input": "q", "completion": "a"}, {"input": [{"role": "system", "content": "s"}, U], "completion": "a"}],
    )
    report = check_file(path)
    assert (report.shape, report.usable, report.errors) == ("prompt_completion", 2, [])
    assert [[m["role"] for m in messages] for messages in read_rows(path)] == [
        ["user", "assistant"],
        ["system", "user", "assistant"],
    ]


def test_documents_of_a_corpus_are_plain_text(tmp_path: Path) -> None:
    for name in ("content", "contents", "Content"):
        report = check_file(written(tmp_path / f"{name}.jsonl", [{"id": 1, name: "One text.", "url": "x"}]))
        assert (report.shape, report.usable, report.errors) == ("text", 1, [])
    for more in (
        {"role": "user"},
        {"from": "human"},
        {"question": "q"},
        {"rejected": "b"},
        {"input_ids": [1]},
        {"author": "me"},
    ):
        report = check_file(written(tmp_path / "other.jsonl", [{"content": "One text.", **more}]))
        assert report.usable == 0 and report.errors, more

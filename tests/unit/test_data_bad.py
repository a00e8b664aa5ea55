"""A table of data files that cannot be used, or not without a warning: each is named by kind and line, none raises."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.data import Reading, check_file
from engine.data.jsonscan import MAX_ROW
from engine.errors import InputError
from tests import datafiles

U, A = {"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}
GOOD = {"messages": [U, A]}
HUMAN, GPT = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
SHARE = {"conversations": [HUMAN, GPT]}
ALPACA = {"instruction": "do", "input": "", "output": "done"}
PROMPT = {"prompt": "p", "completion": "c"}
QUERY = {"query": "q", "response": "r"}
TEXT = {"text": "t"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {}}}


class Case(NamedTuple):
    """``data`` is a file's bytes, or rows of JSON lines; ``line`` and ``words`` say what must be told."""

    name: str
    file: str
    data: bytes | list[Any]
    kind: str
    line: int | None
    words: str = ""
    severity: str = "error"


def after(good: Any, *bad: Any) -> list[Any]:
    """A good row, and one that is not, in line 2."""
    return [good, *bad]


def said(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), **more}


def rows_case(name: str, rows: list[Any], kind: str, words: str = "", line: int = 2, severity: str = "error") -> Case:
    return Case(name, "d.jsonl", rows, kind, line, words, severity)


def warned(name: str, rows: list[Any], kind: str, line: int = 2) -> Case:
    return rows_case(name, rows, kind, "", line, "warning")


def packed(rows: list[Any]) -> bytes:
    return gzip.compress(datafiles.text(rows).encode(), mtime=0)


LINES = datafiles.text([{"messages": [{"role": "user", "content": f"q{n}"}, A]} for n in range(3)]).encode()
LIST = json.dumps([GOOD, SHARE["conversations"], SHARE], indent=1).encode()

WHOLE_FILES = [
    Case("empty", "d.jsonl", b"", "empty-file", None),
    Case("blank lines", "d.jsonl", b"\n \n\t\n", "empty-file", None),
    Case("a mark of order alone", "d.jsonl", b"\xef\xbb\xbf", "empty-file", None),
    Case("empty list", "d.json", b"[]", "empty-file", None),
    Case("empty csv", "d.csv", b"", "empty-file", None),
    Case("header alone", "d.csv", b"query,response\n", "empty-file", None),
    Case("half a character of utf-16", "d.jsonl", LINES.decode().encode("utf-16") + b"\x00", "invalid-utf8", None, "UTF-16"),
    Case("no utf-32 but for its mark", "d.csv", b"\xff\xfe\x00\x00" + b"abcdefgh", "invalid-utf8", None, "UTF-32"),
    Case("zip", "d.jsonl", b"PK\x03\x04" + bytes(50), "zip-file", None, "ZIP"),
    Case("spreadsheet", "d.xlsx", b"PK\x03\x04" + bytes(50), "zip-file", None, "spreadsheet"),
    Case("bzip2", "d.jsonl.bz2", b"BZh91AY&SY", "compressed", None, "bzip2"),
    Case("xz", "d.jsonl.xz", b"\xfd7zXZ\x00\x00", "compressed", None, "xz"),
    Case("zstd", "d.jsonl.zst", b"\x28\xb5\x2f\xfd\x00", "compressed", None, "zstd"),
    Case("7z", "d.7z", b"7z\xbc\xaf\x27\x1c", "compressed", None, "7z"),
    Case("arrow file", "data-00000-of-00001.arrow", b"ARROW1\x00\x00", "arrow-file", None, "Arrow"),
    Case("arrow stream", "data.arrow", b"\xff\xff\xff\xff\x10\x00", "arrow-file", None, "Arrow"),
    Case("hdf5", "d.h5", b"\x89HDF\r\n", "unknown-format", None, "HDF5"),
    Case("sqlite", "d.db", b"SQLite format 3\x00", "unknown-format", None, "SQLite"),
    Case("pdf", "d.pdf", b"%PDF-1.7\n", "unknown-format", None, "PDF"),
    Case("pickle", "d.pkl", b"\x80\x04\x95", "unknown-format", None, "pickle"),
    Case("older pickle", "d.jsonl", b"\x80\x02]q\x00", "unknown-format", None, "pickle"),
    Case("png", "d.png", b"\x89PNG\r\n\x1a\n", "images", None, "picture"),
    Case("jpeg", "d.jsonl", b"\xff\xd8\xff\xe0", "images", None, "picture"),
    Case("git lfs", "d.jsonl", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "lfs-pointer", None, "git lfs pull"),
    Case("git lfs parquet", "d.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "lfs-pointer", None),
    Case("web page", "d.jsonl", b"<!DOCTYPE html><html><body>403</body></html>", "web-page", None, "web page"),
    Case("web page in lower case", "d.json", b"\n<html lang=en>", "web-page", None),
    Case("xml", "d.json", b"<?xml version='1.0'?><Error/>", "web-page", None),
    Case("binary", "d.jsonl", b"abc\x00\x01\x02", "unknown-format", None, "binary"),
    Case("bare text", "d.txt", b"Once upon a time\nthere was\n", "bare-text", None, '{"text"'),
    Case("markdown", "readme.md", b"# Data\n\ntext\n", "bare-text", None),
    Case("yaml", "d.yaml", b"a: 1\nb: 2\n", "unknown-format", None),
    Case("python", "d.py", b"print(1)\n", "unknown-format", None),
    Case("no parquet", "d.parquet", b"not parquet at all", "broken-parquet", None),
    Case("parquet head only", "d.parquet", b"PAR1", "broken-parquet", None),
    Case("torn parquet", "d.parquet", b"PAR1" + bytes(200), "broken-parquet", None),
    Case("torn parquet of another name", "d.jsonl", b"PAR1" + bytes(200) + b"PAR1", "broken-parquet", None),
    Case("gzip of nothing", "d.jsonl.gz", gzip.compress(b""), "empty-file", None),
    Case("gzip head only", "d.jsonl.gz", b"\x1f\x8b\x08\x00", "broken-gzip", None),
    Case("gzip of rubbish", "d.jsonl.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03rubbish rubbish", "broken-gzip", None),
    Case("gzip cut off", "d.jsonl.gz", packed([GOOD] * 2000)[:-12], "broken-gzip", None),
    Case("gzip with a wrong sum", "d.jsonl.gz", packed([GOOD])[:-8] + bytes(8), "broken-gzip", None),
    Case("gzip of a zip", "d.jsonl.gz", gzip.compress(b"PK\x03\x04abc"), "zip-file", None),
    Case("column twice", "d.csv", b"query,query\na,b\n", "bad-header", None, "twice"),
    Case("header with an open quote", "d.csv", b'"query,response\na,b\n', "broken-csv", None, "quote"),
    Case("header that is no utf-8 works, rows do not", "d.csv", b"query,response\n\xff,b\n", "invalid-utf8", 2),
]  # fmt: skip

LINES_OF_JSON = [
    Case("cut in the middle", "d.jsonl", LINES[:-20], "broken-json", 3, "column"),
    Case("no json", "d.jsonl", LINES + b"hello\n", "broken-json", 4),
    Case("all lines rubbish", "d.jsonl", b"x\ny\nz\n", "broken-json", 1),
    Case("single quotes", "d.jsonl", LINES + b"{'messages': []}\n", "broken-json", 4),
    Case("trailing comma", "d.jsonl", LINES + b'{"messages": [],}\n', "broken-json", 4),
    Case("two values in a line", "d.jsonl", LINES + b'{"messages": []} {"messages": []}\n', "broken-json", 4),
    Case("NaN", "d.jsonl", LINES + b'{"messages": NaN}\n', "broken-json", 4),
    Case("lone surrogate", "d.jsonl", LINES + b'{"messages": "\\ud800"}\n', "broken-json", 4),
    Case("raw line break", "d.jsonl", LINES + b'{"messages": "a\nb"}\n', "broken-json", 4),
    Case("comment", "d.jsonl", LINES + b"// more\n", "broken-json", 4),
    Case("deep", "d.jsonl", LINES + b"[" * 50_000 + b"\n", "broken-json", 4),
    Case("latin-1", "d.jsonl", LINES + '{"messages": "café"}\n'.encode("latin-1"), "invalid-utf8", 4, "byte"),
    Case("overlong utf-8", "d.jsonl", LINES + b'{"messages": "\xc0\xaf"}\n', "invalid-utf8", 4),
    Case("cut character", "d.jsonl", LINES + b'{"messages": "\xed\x95\n', "invalid-utf8", 4),
    *[Case(f"begins with {begin!r} alone", file, begin + b"\n" + LINES, "broken-json", 1)
      for begin in (b"{", b"[", b'{"messages": [') for file in ("d.jsonl", "d.json") if (begin, file) != (b"[", "d.json")],
    Case("after blank lines", "d.jsonl", LINES + b"\n\n\n{\n", "broken-json", 7),
    Case("carriage returns", "d.jsonl", LINES.replace(b"\n", b"\r\n") + b"{\r\n", "broken-json", 4),
    Case("in gzip", "d.jsonl.gz", gzip.compress(LINES + b"{\n"), "broken-json", 4),
    Case("huge number", "d.jsonl", LINES + b'{"messages": ' + b"9" * 5000 + b"}\n", "", 4),
]  # fmt: skip

JSON_FILES = [
    Case("list cut off", "d.json", LIST[:-30], "broken-json", None, "cut off"),
    Case("list not closed", "d.json", b"[" + json.dumps(GOOD).encode(), "broken-json", 1, "cut off"),
    Case("object not closed", "d.json", b'{"data": [\n' + json.dumps(GOOD).encode(), "broken-json", None, "cut off"),
    Case("number in a list", "d.json", b"[" + json.dumps(GOOD).encode() + b",\n3]", "not-a-chat", 2, "number"),
    Case("text in a list", "d.json", b"[" + json.dumps(GOOD).encode() + b',\n"x"]', "not-a-chat", 2, "text"),
    Case("null in a list", "d.json", b"[\n" + json.dumps(GOOD).encode() + b",\nnull\n]", "not-a-chat", 3, "null"),
    Case("list in a list", "d.json", b"[\n" + json.dumps(GOOD).encode() + b",\n[1]\n]", "not-a-chat", 3, "list"),
    Case("broken element", "d.json", b"[\n" + json.dumps(GOOD).encode() + b',\n{"messages": [x]}\n]', "broken-json", 3),
    Case("wrong bracket", "d.json", b"[\n" + json.dumps(GOOD).encode() + b',\n{"messages": [1}}\n]', "broken-json", 3),
    Case("missing quote", "d.json", b"[\n" + json.dumps(GOOD).encode() + b',\n{"messages: []}\n]', "broken-json", 3),
    Case("words after the list", "d.json", b"[" + json.dumps(GOOD).encode() + b"]\nand more", "broken-json", 2),
    Case("bad row in an object", "d.json", b'{"data": [\n' + json.dumps(GOOD).encode() + b',\n{"messages": 1}]}', "no-messages", 3),
    Case("columns as pandas writes them", "d.json", json.dumps({"prompt": {"0": "a"}, "completion": {"0": "b"}}).encode(), "bad-content", 1),
    Case("latin-1 in a list", "d.json", b'[\n{"messages": "\xe9"}]', "invalid-utf8", 2),
]  # fmt: skip

TABLES = [
    Case("more cells", "d.csv", b"query,response\na,b\nc,d,e\n", "ragged-row", 3, "3 cells"),
    Case("fewer cells", "d.csv", b"query,response\na,b\nc\n", "ragged-row", 3, "1 cells"),
    Case("quote inside", "d.csv", b'query,response\na,b\n"c"x,d\n', "broken-csv", 3),
    Case("quote never closed", "d.csv", b'query,response\na,b\n"c,d\ne,f\n', "broken-csv", 3, "never ends"),
    Case("lines are those of the file", "d.csv", b'query,response\n"a\nb",c\nd\n', "ragged-row", 4),
    Case("latin-1 cell", "d.csv", "query,response\na,é\n".encode("latin-1"), "invalid-utf8", 2),
    Case("no known column", "d.csv", b"foo,bar\na,b\n", "unknown-shape", 2, "foo, bar"),
    Case("no header", "d.csv", b"what is it,it is this\nwhat else,that\n", "unknown-shape", 2),
    Case("messages that are no list", "d.csv", b"messages\nhello\n", "no-messages", 2, "text, not a list"),
    Case("messages cut off", "d.csv", b'messages\n"[{""role"": ""user"""\n', "no-messages", 2),
    Case("tabs", "d.tsv", b"query\tresponse\na\tb\nc\n", "ragged-row", 3),
    Case("preference table", "d.csv", b"prompt,chosen,rejected\na,b,c\n", "preference-pairs", 2),
    Case("in gzip", "d.csv.gz", gzip.compress(b"query,response\na\n"), "ragged-row", 2),
]  # fmt: skip

MESSAGES = [
    *[rows_case(f"row is {value!r}", after(GOOD, value), "not-a-chat") for value in (3, 2.5, "x", None, True, [], [GOOD])],
    rows_case("empty object", after(GOOD, {}), "no-messages"),
    rows_case("no messages", after(GOOD, {"id": 1}), "no-messages"),
    *[rows_case(f"messages is {value!r}", after(GOOD, {"messages": value}), "no-messages", "not a list") for value in (None, 3, "x", {}, True)],
    rows_case("no message at all", after(GOOD, said()), "no-messages", "empty"),
    *[rows_case(f"message is {value!r}", after(GOOD, said(U, value)), "bad-message", "message 2") for value in (None, 3, "x", [U])],
    rows_case("no role", after(GOOD, said({"content": "x"})), "unknown-role", "no role"),
    *[rows_case(f"role {value!r}", after(GOOD, said(U, {"role": value, "content": "x"})), "unknown-role", "message 2")
      for value in (3, [], {}, "wizard", "", "narrator", "human", "gpt")],
    *[rows_case(f"content {value!r}", after(GOOD, said({"role": "user", "content": value}, A)), "bad-content", "message 1")
      for value in (None, 5, 1.5, True, {"a": 1}, [3], [None], [{"type": "text"}], [{"type": "json", "x": 1}])],
    rows_case("no content", after(GOOD, said({"role": "user"}, A)), "bad-content", "missing"),
    rows_case("assistant without anything", after(GOOD, said(U, {"role": "assistant", "content": None})), "bad-content", "null"),
    rows_case("tool without content", after(GOOD, said(U, {"role": "tool"})), "bad-content"),
    rows_case("call without a name", after(GOOD, said(U, {**A, "tool_calls": [{"function": {}}]})), "bad-tool-call", "no name"),
    rows_case("call that is a number", after(GOOD, said(U, {**A, "tool_calls": [3]})), "bad-tool-call"),
    rows_case("call as broken JSON", after(GOOD, said(U, {**A, "tool_calls": "[{"})), "bad-tool-call", "not JSON"),
    rows_case("arguments as broken JSON", after(GOOD, said(U, {**A, "tool_calls": [{"name": "f", "arguments": "{x"}]})), "bad-tool-call", "arguments"),
    rows_case("function_call that is text", after(GOOD, said(U, {"role": "function_call", "content": "f(x)"})), "bad-tool-call"),
    rows_case("empty list of calls", after(GOOD, said(U, {"role": "tool_call", "content": "[]"})), "bad-tool-call", "empty"),
    rows_case("tools as broken JSON", after(GOOD, said(U, A, tools="[{")), "bad-tools"),
    rows_case("tools that are a number", after(GOOD, said(U, A, tools=3)), "bad-tools"),
    rows_case("tools of numbers", after(GOOD, said(U, A, tools=[3])), "bad-tools"),
    rows_case("tools as a word", after(GOOD, said(U, A, tools="weather")), "bad-tools"),
    rows_case("escape in a role", after(GOOD, said({"role": "\x1b[31mred", "content": "x"})), "unknown-role", "'red'"),
]  # fmt: skip

REFUSED = [
    *[rows_case(f"part {kind}", after(GOOD, said({"role": "user", "content": [{"type": kind, kind: "x"}]}, A)), "images", kind)
      for kind in ("image", "image_url", "video", "audio", "input_audio", "file")],
    *[rows_case(f"row with {key}", after(GOOD, said(U, A, **{key: value})), "images", key)
      for key, value in (("images", ["a.png"]), ("image", "a.png"), ("videos", ["a"]), ("audio", {"path": "x"}))],
    rows_case("LLaVA", after(SHARE, {"image": "x.jpg", **SHARE}), "images"),
    rows_case("chosen and rejected", after(GOOD, said(U, A, chosen="a", rejected="b")), "preference-pairs", "chosen"),
    rows_case("pairs of chats", [{"chosen": [U, A], "rejected": [U, A]}], "preference-pairs", "", 1),
    rows_case("prompt and pairs", [{"prompt": "p", "chosen": "a", "rejected": "b"}], "preference-pairs", "", 1),
    rows_case("rejected response", after(GOOD, said(U, A, rejected_response="b")), "preference-pairs"),
    rows_case("ShareGPT pairs", after(SHARE, {**SHARE, "chosen": GPT, "rejected": GPT}), "preference-pairs"),
    rows_case("pairs of messages", [{"chosen_messages": [U, A], "rejected_messages": [U, A]}], "preference-pairs", "chosen_messages", 1),
    rows_case("judged chat", after(GOOD, said(U, A, label=False)), "preference-pairs", "label"),
    rows_case("judged conversation", after(SHARE, {**SHARE, "label": True}), "preference-pairs", "label"),
    rows_case("call in a part that is no JSON", after(GOOD, said(U, {"role": "assistant", "content": [{"type": "tool_call", "value": "{"}]})),
              "bad-tool-call", "not JSON"),
    rows_case("call in a part without a name", after(GOOD, said(U, {"role": "assistant", "content": [{"type": "tool_use", "input": {}}]})),
              "bad-tool-call", "no name"),
    rows_case("thought without words", after(GOOD, said(U, {"role": "assistant", "content": [{"type": "reasoning", "value": 3}]})),
              "bad-content", "reasoning"),
    rows_case("call in a user's part", after(GOOD, said({"role": "user", "content": [{"type": "tool_call", "value": "{}"}]}, A)),
              "bad-content", "tool_call"),
    rows_case("several answers", after(ALPACA, {**ALPACA, "output": ["a", "b"]}), "preference-pairs"),
    rows_case("judged", after(PROMPT, {**PROMPT, "label": True}), "preference-pairs", "label"),
    rows_case("judged by tag", after(GOOD, said(U, A, kto_tag=False)), "preference-pairs", "kto_tag"),
]  # fmt: skip

SHAPES = [
    rows_case("ShareGPT: not a list", after(SHARE, {"conversations": "x"}), "no-messages"),
    rows_case("ShareGPT: empty", after(SHARE, {"conversations": []}), "no-messages", "empty"),
    rows_case("ShareGPT: missing", after(SHARE, {"id": 3}), "no-messages"),
    rows_case("ShareGPT: no from", after(SHARE, {"conversations": [{"value": "x"}]}), "unknown-role", "from"),
    rows_case("ShareGPT: no value", after(SHARE, {"conversations": [{"from": "human"}]}), "bad-content", "value"),
    rows_case("ShareGPT: null value", after(SHARE, {"conversations": [HUMAN, {"from": "gpt", "value": None}]}), "bad-content", "message 2"),
    rows_case("ShareGPT: strange speaker", after(SHARE, {"conversations": [{"from": "alien", "value": "x"}]}), "unknown-role", "alien"),
    rows_case("ShareGPT: a message that is text", after(SHARE, {"conversations": ["hi", "ho"]}), "bad-message"),
    rows_case("ShareGPT: call that is text", after(SHARE, {"conversations": [HUMAN, {"from": "function_call", "value": "f()"}]}), "bad-tool-call"),
    rows_case("Alpaca: no output", after(ALPACA, {"instruction": "x"}), "missing-field", "output"),
    rows_case("Alpaca: no instruction", after(ALPACA, {"output": "x"}), "missing-field", "instruction"),
    rows_case("Alpaca: null output", after(ALPACA, {"instruction": "x", "output": None}), "bad-content", "output"),
    rows_case("Alpaca: number", after(ALPACA, {"instruction": "x", "output": 4}), "bad-content"),
    rows_case("Alpaca: input is a list", after(ALPACA, {**ALPACA, "input": ["x"]}), "bad-content", "input"),
    rows_case("Alpaca: history is text", after(ALPACA, {**ALPACA, "history": "before"}), "bad-history"),
    rows_case("Alpaca: history of numbers", after(ALPACA, {**ALPACA, "history": [1]}), "bad-history", "entry 1"),
    rows_case("Alpaca: history of three", after(ALPACA, {**ALPACA, "history": [["a", "b"], ["a", "b", "c"]]}), "bad-history", "entry 2"),
    rows_case("prompt: no completion", after(PROMPT, {"prompt": "x"}), "missing-field", "completion"),
    rows_case("prompt: null", after(PROMPT, {"prompt": None, "completion": "x"}), "bad-content", "prompt"),
    rows_case("prompt: list of numbers", after(PROMPT, {"prompt": [1], "completion": "x"}), "bad-message"),
    rows_case("prompt: strange role", after(PROMPT, {"prompt": [{"role": "x", "content": "y"}], "completion": "x"}), "unknown-role"),
    rows_case("query: no response", after(QUERY, {"query": "x"}), "missing-field", "response"),
    rows_case("query: response is an object", after(QUERY, {"query": "x", "response": {"a": 1}}), "bad-content"),
    rows_case("query: answers of SQuAD", after({"question": "q", "answer": "a"}, {"question": "q", "answer": {"text": ["a"]}}), "bad-content"),
    rows_case("text: null", after(TEXT, {"text": None}), "bad-content"),
    rows_case("text: list", after(TEXT, {"text": ["a"]}), "bad-content"),
    rows_case("text: missing", after(TEXT, {"body": "x"}), "missing-field"),
    rows_case("chats, then Alpaca", after(GOOD, ALPACA), "no-messages", "Alpaca"),
    rows_case("chats, then ShareGPT", after(GOOD, SHARE), "no-messages", "ShareGPT"),
    rows_case("Alpaca, then plain text", after(ALPACA, TEXT), "missing-field", "plain text"),
    rows_case("unknown fields", [{"foo": 1, "bar": "x"}], "unknown-shape", "foo, bar", 1),
    rows_case("fields with escapes", [{"\x1b]0;x\x07foo": 1}], "unknown-shape", "foo", 1),
    rows_case("SQuAD as it is", [{"context": "c", "question": "q", "answers": {"text": ["a"]}}], "unknown-shape", "", 1),
    rows_case("tokens", [{"input_ids": [1, 2], "labels": [1, 2]}], "unknown-shape", "input_ids", 1),
]  # fmt: skip

WARNINGS = [
    warned("weight of nothing", [said(U, {**A, "weight": 0})], "muted-answer", 1),
    warned("loss weight of nothing", [said({**U, "loss_weight": 0.0}, {**A, "loss_weight": 0.0})], "muted-answer", 1),
    warned("not for training", [{"conversations": [HUMAN, {**GPT, "train": False}]}], "muted-answer", 1),
    warned("no loss of it", [said(U, {**A, "loss": False})], "muted-answer", 1),
    warned("a bare list of messages", [[U, {**A, "training": False}]], "muted-answer", 1),
    warned("no answer", after(GOOD, said(U)), "no-answer"),
    warned("blank answer", after(GOOD, said(U, {"role": "assistant", "content": " \n\t"})), "no-answer"),
    warned("one blank answer of two", after(GOOD, said(U, {"role": "assistant", "content": ""}, U, A)), "empty-answer"),
    warned("blank question", after(GOOD, said({"role": "user", "content": " "}, A)), "empty-turn"),
    warned("last turn is the user's", after(GOOD, said(U, A, U)), "last-turn"),
    warned("last turn is a tool's", after(GOOD, said(U, {"role": "assistant", "content": "", "tool_calls": [CALL]},
                                                     {"role": "tool", "content": "3"})), "last-turn"),
    warned("assistant first", after(GOOD, said(A)), "roles-order"),
    warned("user twice", after(GOOD, said(U, U, A)), "roles-order"),
    warned("assistant twice", after(GOOD, said(U, A, A)), "roles-order"),
    warned("system later", after(GOOD, said(U, A, {"role": "system", "content": "s"}, U, A)), "roles-order"),
    warned("two system texts", after(GOOD, said(*[{"role": "system", "content": "s"}] * 2, U, A)), "roles-order"),
    warned("tool without a call", after(GOOD, said(U, {"role": "tool", "content": "3"}, A)), "roles-order"),
    *[warned(f"character {ord(c):#x}", after(GOOD, said({"role": "user", "content": f"a{c}b"}, A)), "control-characters")
      for c in "\x00\x07\x08\x0b\x1b\x7f\x9b\u202e\u2066"],
    warned("decoded wrongly", after(GOOD, said({"role": "user", "content": "caf\ufffd"}, A)), "damaged-text"),
    warned("marks of ChatML", after(GOOD, said({"role": "user", "content": "x<|im_end|>\n<|im_start|>system"}, A)), "template-marks"),
    warned("marks of Llama", after(GOOD, said(U, {"role": "assistant", "content": "x<|eot_id|>"})), "template-marks"),
    warned("absurdly long", after(GOOD, said(U, {"role": "assistant", "content": "x" * 1_000_001})), "long-row"),
    warned("the same again", after(GOOD, said({**U, "content": "other"}, A), GOOD), "duplicate", 3),
    warned("the same with other keys", after(GOOD, said({**U, "content": "other"}, A), {"id": 1, **GOOD}), "duplicate", 3),
    warned("the same call again", [said(U, {**A, "tool_calls": [CALL]}), GOOD, said(U, {**A, "tool_calls": [CALL]})], "duplicate", 3),
    Case("the same in one line of JSON", "d.json", json.dumps([GOOD, GOOD]).encode(), "duplicate", 1, "", "warning"),
    Case("table with a control character", "d.csv", b"query,response\na,b\nc\x07,d\n", "control-characters", 3, "", "warning"),
]  # fmt: skip

CASES = [*WHOLE_FILES, *LINES_OF_JSON, *JSON_FILES, *TABLES, *MESSAGES, *REFUSED, *SHAPES, *WARNINGS]


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200 and len({(case.name, case.file) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_data_are_named(tmp_path: Path, case: Case) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.data if isinstance(case.data, bytes) else datafiles.text(case.data).encode())
    report = check_file(path)
    if case.severity == "warning":
        assert report.errors == [] and report.tallies[case.kind].severity == "warning", report
        assert set(report.tallies) <= {case.kind, "roles-order", "no-answer", "last-turn", "empty-answer"}
        told = report.tallies[case.kind].problem("train_path", report.rows)
    else:
        assert report.error_count == len(report.errors) >= 1, report
        told = next(problem for problem in report.errors if not case.kind or problem.kind == case.kind)
        assert case.kind in report.tallies or not case.kind
    assert (told.file, told.line) == (str(path), case.line) or (case.line is None and told.file == str(path))
    assert case.words in str(told) and told.message and "\x1b" not in str(told) and "Traceback" not in str(told)
    if case.severity == "error" and case.line is not None:
        bad = report.error_count
        assert report.rows - report.usable - report.unanswered == bad
        skipping = check_file(path, reading=Reading(skip=True))
        assert sum(skipping.skipped.values()) == bad and (skipping.errors == []) == bool(skipping.usable)


@pytest.mark.parametrize(("name", "make", "kind"), [
    ("none.jsonl", lambda p: None, "missing-file"), ("folder", lambda p: p.mkdir(), "not-a-file"), ("pipe", os.mkfifo, "not-a-file"),
    ("link", lambda p: p.symlink_to(p), "missing-file"), ("a\0b", lambda p: None, "missing-file"), ("x" * 300, lambda p: None, ""),
])  # fmt: skip
def test_what_is_no_file(tmp_path: Path, name: str, make: Any, kind: str) -> None:
    path = tmp_path / name
    make(path)
    (problem,) = check_file(path, setting="eval_path").errors
    assert problem.setting == "eval_path" and (problem.kind == kind or not kind)


def test_a_row_beyond_all_measure_costs_no_memory(tmp_path: Path) -> None:
    """A line of 300 MB and an unclosed string of the same length, each with the memory of one row."""
    code = """
import sys
from pathlib import Path
from engine.data import check_file
def most():  # of this program alone: what getrusage says begins with the memory of whoever started it
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
for name in sys.argv[1:]:
    report = check_file(Path(name))
    print(*[problem.kind for problem in report.errors], report.usable, most())
"""
    line, unclosed = tmp_path / "line.jsonl", tmp_path / "unclosed.json"
    good = json.dumps(GOOD).encode()
    for path, begin, end in (
        (line, good + b"\n", b"\n" + good + b"\n"),
        (unclosed, b"[" + good + b',{"messages": "', b""),
    ):
        with path.open("wb") as file:
            file.write(begin)
            for _ in range(300):
                file.write(b"x" * 1_000_000)
            file.write(end)
    assert line.stat().st_size > 4 * MAX_ROW
    answer = subprocess.run([sys.executable, "-c", code, line, unclosed], capture_output=True, text=True, check=True)
    first, second = (text.split() for text in answer.stdout.splitlines())
    assert first[:2] == ["row-too-long", "2"] and second[:2] == ["row-too-long", "1"]
    assert int(second[2]) < 400


def test_a_file_that_broke_after_its_check_is_refused_in_words(tmp_path: Path) -> None:
    from engine.data import read_rows

    path = datafiles.jsonl(tmp_path / "d.jsonl", [GOOD, {"messages": 3}])
    with pytest.raises(InputError) as error:
        list(read_rows(path))
    assert error.value.problems[0].line == 2

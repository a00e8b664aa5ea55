"""Public instruction data read as they are: counts as plain Python counts them, and exactly the assistant's words learned.

What is expected is worked out here from the raw rows, without the code that is tested. Parquet with questions was found
only with columns of names of its own, which ``data_fields`` names, and with lists but without messages. Shapes and formats
that no package was found to hold are public rows written anew in them (``ANEW``): that is said where they are made.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.config import parse
from engine.data import check_file, numbered_chats
from engine.data.options import AS_FOUND, Reading, fields_of
from engine.preflight import check
from tests import datafiles
from tests.families import tokenizer
from tests.public_data import PUBLIC, TEN, Public, Unreachable, fetch
from tests.support import fake_model

pytestmark = [pytest.mark.slow, pytest.mark.network]
DATA, REFUSED = [p for p in PUBLIC if not p.refused], [p for p in PUBLIC if p.refused]
AS_THEY_ARE = {p.member for p in DATA if not p.fields}
NAMELESS = [p for p in DATA if p.member not in AS_THEY_ARE]  # nothing is found in them until their columns are named
Row = dict[str, Any]
TOOL_FAMILIES = ("qwen2.5", "qwen3")


class Turn(NamedTuple):
    """What an assistant says: words, calls of tools as (name, arguments), and thoughts."""

    words: str
    calls: tuple[Any, ...] = ()
    thoughts: str = ""


class Family(NamedTuple):
    """What a family's template puts around an answer in what is learned, and whether it takes space off its ends."""

    before: str
    after: str
    strips: bool
    system: bool


FAMILIES = {
    "qwen2.5": Family("\n", "<|im_end|>\n", False, True),
    "llama3": Family("", "<|eot_id|>", True, True),
    "smollm2": Family("", "<|im_end|>", False, True),
    "gemma": Family("", "<end_of_turn>\n", True, False),
}


def fetched(public: Public) -> Path:
    try:
        return fetch(public)
    except Unreachable as why:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(why))


def raw_rows(path: Path) -> list[Row]:
    """The rows with nothing but ``json``, ``csv`` and ``pyarrow``."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return list(pyarrow.parquet.read_table(path).to_pylist())
    text = path.read_text(encoding="utf-8")
    if path.suffix in (".csv", ".tsv"):
        return list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ","))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    whole = json.loads(text)
    return list(whole if isinstance(whole, list) else whole["questions"])


def named_rows(public: Public) -> list[Row]:
    """The raw rows, with columns that a person names under the names that they are said to have."""
    rows = raw_rows(fetched(public))
    for known, _, own in (word.partition("=") for word in public.fields):
        rows = [{**row, known: row[own]} for row in rows]
    return rows


def reading_of(public: Public) -> Reading:
    return Reading(fields=fields_of(list(public.fields)))


def text_of(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(part.get("text") or part.get("value") for part in content if part["type"] == "text")


def called(value: Any) -> tuple[Any, ...]:
    value = json.loads(value) if isinstance(value, str) else value
    return tuple((one["name"], one["arguments"]) for one in (value if isinstance(value, list) else [value]))


def turn_of(message: Row) -> Turn | None:
    """What one message of a list teaches, whatever its keys are called."""
    role, content = message.get("role") or message["from"], message.get("content", message.get("value"))
    if role == "function_call":
        return Turn("", called(content))
    if role not in ("assistant", "gpt"):
        return None
    parts = content if isinstance(content, list) else []
    calls = [call for part in parts if part["type"] == "tool_call" for call in called(part["value"])]
    thoughts = "\n".join(part["value"] for part in parts if part["type"] == "reasoning")
    return Turn(text_of(content), tuple(calls), thoughts)


def turns_of(row: Row) -> tuple[int, list[Turn]]:
    """How many messages a row has, and what its assistant says, by the fields that it has."""
    system = 1 if row.get("system") else 0
    if row.get("messages") or row.get("conversations"):
        listed = row.get("messages") or row["conversations"]
        return system + len(listed), [turn for turn in map(turn_of, listed) if turn is not None]
    if "instruction" in row:
        history = row.get("history") or []
        return system + 2 * len(history) + 2, [*(Turn(pair[1]) for pair in history), Turn(row["output"])]
    question, answer = next((q, a) for q, a in (("prompt", "completion"), ("input", "completion"), ("query", "response"),
                                                ("question", "answer"), ("q", "a"), ("input", "target")) if q in row and a in row)  # fmt: skip
    sides = [len(row[key]) if isinstance(row[key], list) else 1 for key in (question, answer)]
    said = row[answer][0] if isinstance(row[answer], list) else row[answer]
    words = text_of(said if isinstance(said, str) else said["content"])
    return sum(sides), [Turn(words)]


def has_system(row: Row) -> bool:
    listed = (
        row.get("messages") or row.get("conversations") or (row["input"] if isinstance(row.get("input"), list) else [])
    )
    return bool(row.get("system")) or any((m.get("role") or m["from"]) == "system" for m in listed)


def learned(family: str, chat: Any) -> list[str]:
    """The stretches that are learned, in their order, as text."""
    from engine.worker.marking import Marker

    marker = Marker(tokenizer(family))
    marked = marker.mark(chat)
    assert not marked.unproven
    pieces = marker.pieces(marked, chat)
    return ["".join(piece.text for piece in part) for bit, part in groupby(pieces, lambda piece: piece.trained) if bit]


def assert_words(family: str, chat: Any, turns: list[Turn]) -> None:
    """Each stretch is one answer and the end of its turn, no letter more or less."""
    way = FAMILIES[family]
    expected = [way.before + (turn.words.strip() if way.strips else turn.words) + way.after for turn in turns]
    found = learned(family, chat)
    if family == "gemma":  # the small tokenizer fuses the header's line end with a letter that it does not know
        found = [text.removeprefix("\n") for text in found]
    assert found == expected, family


def assert_calls(family: str, chat: Any, turns: list[Turn]) -> None:
    """The same for rows with tools, where a call is written as JSON between marks."""
    stretches = learned(family, chat)
    assert len(stretches) == len(turns), family
    for text, turn in zip(stretches, turns, strict=True):
        thought, body = re.fullmatch(r"\n?(?:<think>\n(.*?)\n</think>\n\n)?(.*)<\|im_end\|>\n", text, re.S).groups()  # type: ignore[union-attr]
        assert (thought or "").strip() in ("", turn.thoughts.strip()), family
        calls = [json.loads(call) for call in re.findall(r"<tool_call>\n(.*?)\n</tool_call>", body, re.S)]
        assert [(call["name"], call["arguments"]) for call in calls] == list(turn.calls), family
        words = re.sub(r"\n?<tool_call>\n.*?\n</tool_call>", "", body, flags=re.S)
        assert words.strip() == turn.words.strip(), family


def assert_masks(path: Path, rows: list[Row], picked: tuple[int, ...], reading: Reading = AS_FOUND) -> None:
    """Ten rows under at least two families each."""
    assert len(picked) == 10
    chats = [chat for _, chat in numbered_chats(path, reading)]
    for number in picked:
        row, chat = rows[number], chats[number]
        _, turns = turns_of(row)
        if row.get("tools") not in (None, "", "[]", []) or any(turn.calls for turn in turns):
            for family in TOOL_FAMILIES:
                assert_calls(family, chat, turns)
            continue
        families = [name for name, family in FAMILIES.items() if family.system or not has_system(row)]
        assert len(families) >= 2
        for family in families:
            assert_words(family, chat, turns)


@pytest.mark.parametrize("public", DATA, ids=lambda public: public.name)
def test_rows_and_messages_are_those_that_are_there(public: Public) -> None:
    path, rows = fetched(public), named_rows(public)
    messages = len(rows) if public.shape == "text" else sum(turns_of(row)[0] for row in rows)
    assert (len(rows), messages) == (public.rows, public.messages), "the list is wrong"
    report = check_file(path, reading=reading_of(public))
    assert (report.errors, report.format, report.shape) == ([], public.format, public.shape)
    assert (report.rows, report.usable, report.messages) == (public.rows, public.rows, public.messages)


@pytest.mark.parametrize("public", [p for p in DATA if p.shape != "text"], ids=lambda public: public.name)
def test_what_the_assistant_says_is_learned_and_nothing_else(public: Public) -> None:
    assert_masks(fetched(public), named_rows(public), public.picked, reading_of(public))


@pytest.mark.parametrize("public", NAMELESS, ids=lambda public: public.name)
def test_columns_of_other_names_are_named_in_the_refusal_until_they_are_set(public: Public) -> None:
    report = check_file(fetched(public))
    first = report.errors[0]
    assert (report.rows, report.usable, first.kind) == (public.rows, 0, "unknown-shape")
    assert "--data_fields" in first.hint and next(iter(raw_rows(fetched(public))[0])) in first.message


@pytest.mark.parametrize("public", [p for p in DATA if p.shape == "text"], ids=lambda public: public.name)
def test_plain_text_is_learned_as_it_stands(public: Public) -> None:
    rows, chats = named_rows(public), [chat for _, chat in numbered_chats(fetched(public), reading_of(public))]
    for number in public.picked:
        for family, end in (("qwen2.5", "<|im_end|>"), ("llama3", "<|eot_id|>")):
            assert (
                "".join(learned(family, chats[number])).removeprefix("<|begin_of_text|>")
                == (rows[number].get("text") or rows[number]["contents"]) + end
            )


@pytest.mark.parametrize("public", REFUSED, ids=lambda public: public.name)
def test_what_is_no_data_for_this_is_refused_by_name(public: Public) -> None:
    path = fetched(public)
    report = check_file(path)
    assert report.usable == 0 and {problem.kind for problem in report.errors} == {public.refused}
    assert report.rows == report.error_count == public.rows or public.refused == "bare-text"
    assert all(problem.hint and problem.file == str(path) for problem in report.errors)


def conversations(name: str) -> list[Row]:
    return raw_rows(fetched(next(p for p in PUBLIC if p.member.endswith(name))))


def pairs() -> list[tuple[str, str]]:
    return [(row["q"], row["a"]) for row in conversations("faq-en.json")]


def plain_chats() -> list[list[Row]]:
    """Chats of several turns without tools, with the roles of ShareGPT."""
    rows = [row["conversations"] for row in conversations("glaive_toolcall_en_demo.json")]
    return [row for row in rows if {turn["from"] for turn in row} == {"human", "gpt"} and len(row) >= 4]


def _history(chat: list[Row]) -> Row:
    said = [turn["value"] for turn in chat]
    earlier = [[said[at], said[at + 1]] for at in range(0, len(said) - 2, 2)]
    return {"instruction": said[-2], "input": "", "output": said[-1], "system": "Be brief.", "history": earlier}


def _tools_listed(row: Row) -> Row:
    return {"conversations": row["conversations"], "tools": json.loads(row["tools"] or "[]")}


def _said(question: str, answer: str) -> list[Row]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _parts(row: Row) -> Row:
    return {"messages": [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in row["messages"]]}


def parquet(path: Path, rows: list[Row]) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=100)
    return path


class Anew(NamedTuple):
    """Public rows written in a shape or format of which no package was found to hold data under names that are known.

    No package was found to hold any TSV with a question or a text, ShareGPT with roles, ``history``, ``tools`` as a list, parts
    with ``text`` (with ``value`` there are), completions as messages, messages in Parquet, or gzip.
    """

    name: str
    file: str
    shape: str
    make: Callable[[], list[Row]]
    write: Callable[[Path, list[Row]], Path] = datafiles.jsonl


ANEW = [
    Anew("prompt and completion as text", "d.jsonl", "prompt_completion",
         lambda: [{"prompt": q, "completion": a} for q, a in pairs()]),
    Anew("prompt and completion as messages", "d.jsonl", "prompt_completion",
         lambda: [{"prompt": _said(q, a)[:1], "completion": _said(q, a)[1:]} for q, a in pairs()]),
    Anew("query and response in TSV", "d.tsv", "query_response", lambda: [{"query": q, "response": a} for q, a in pairs()],
         lambda path, rows: datafiles.table(path, rows, "\t")),
    Anew("ShareGPT with role and content", "d.json", "sharegpt",
         lambda: [{"conversations": _said(q, a)} for q, a in pairs()], datafiles.json_list),
    Anew("Alpaca with system and history", "d.json", "alpaca", lambda: [_history(chat) for chat in plain_chats()[:100] if len(chat) % 2 == 0],
         datafiles.json_list),
    Anew("tools as a list", "d.jsonl", "sharegpt",
         lambda: [_tools_listed(row) for row in conversations("glaive_toolcall_en_demo.json")]),
    Anew("parts of text", "d.jsonl", "messages", lambda: [_parts(row) for row in conversations("conversations.jsonl")]),
    Anew("messages in Parquet", "d.parquet", "messages", lambda: [{"messages": _said(q, a)} for q, a in pairs()], parquet),
    Anew("ShareGPT with tools in Parquet", "d.parquet", "sharegpt", lambda: conversations("glaive_toolcall_en_demo.json"), parquet),
    Anew("messages in gzip", "d.jsonl.gz", "messages", lambda: conversations("conversations.jsonl"), datafiles.gzipped),
]  # fmt: skip


@pytest.mark.parametrize("anew", ANEW, ids=lambda anew: anew.name)
def test_public_rows_in_other_shapes_and_formats(tmp_path: Path, anew: Anew) -> None:
    rows = anew.make()
    path = anew.write(tmp_path / anew.file, rows)
    report = check_file(path)
    assert (report.errors, report.shape) == ([], anew.shape)
    assert (report.rows, report.usable) == (len(rows), len(rows)) and len(rows) >= 40
    assert report.messages == sum(turns_of(row)[0] for row in rows)
    step = (len(rows) - 1) // 9
    assert_masks(path, rows, tuple(range(0, 10 * step, step)) if len(rows) < TEN[-1] + 1 else TEN)


def test_a_run_on_public_data_needs_no_settings_of_its_own(tmp_path: Path) -> None:
    """Several files of several shapes as they are, one of them to evaluate with: planned without an error."""
    names = ("alpaca_en_demo.json", "glaive_toolcall_en_demo.json", "v1_sft_demo.jsonl", "faq-en.csv")
    train = ",".join(str(fetched(next(p for p in PUBLIC if p.member.endswith(name)))) for name in names)
    evaluation = fetched(next(p for p in PUBLIC if p.member.endswith("identity.json")))
    found = check(parse({"base_model": str(fake_model(tmp_path / "model")), "output_dir": str(tmp_path / "out"),
                         "train_path": train, "eval_path": str(evaluation)}))  # fmt: skip
    assert found.ok and found.train is not None and found.train.rows == 999 + 300 + 500 + 503
    leak = next(problem for problem in found.warnings if problem.kind == "eval-in-train")
    said = {tuple(text_of(m["content"]) for m in row["messages"]) for row in conversations("v1_sft_demo.jsonl")}
    both = sum((row["instruction"], row["output"]) in said for row in conversations("identity.json"))
    assert both >= 50 and leak.message.startswith(f"{both} of 91 rows also stand in the training data")

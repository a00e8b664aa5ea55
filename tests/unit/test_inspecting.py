"""The inspector and whoever asks it: answers, refusals in words, withdrawn questions, a process that dies or hangs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.inspecting import InspectError, Inspector
from tests.families import templates as t
from tests.families import tokenizer
from tests.families.templates import of_trl
from tests.support import write_rows

SAMPLE = paths.sample_data_dir()
MODEL = {"base_model": str(SAMPLE / "tiny-qwen2")}
TRAIN = str(SAMPLE / "train.jsonl")


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    """One process for all tests: it takes seconds to load its libraries."""
    asked = Inspector()
    yield asked
    asked.close()


def refusal(inspector: Inspector, what: str, **fields: Any) -> InspectError:
    with pytest.raises(InspectError) as caught:
        inspector.ask(what, **fields)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)
    return caught.value


def saved(folder: Path, name: str, template: str | None = None, size: int = 5000) -> dict[str, Any]:
    tokenizer(name, template).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": size}))
    return {"base_model": str(folder)}


def test_facts_of_a_model(inspector: Inspector) -> None:
    facts = inspector.ask("open", model=MODEL)
    assert facts["way"] == "trl" and facts["stop_token_trained"] and facts["template"] and facts["problems"] == []
    assert facts["vocabulary"] == facts["tokens"] == 2560 and facts["ends"] == [{"token": "<|im_end|>", "id": 2}]
    assert facts["pad"] == {"token": "<|endoftext|>", "id": 0} and facts["outside"] == []


def test_tokens_of_a_row(inspector: Inspector) -> None:
    answer = inspector.ask("tokens", model=MODEL, file=TRAIN, row=3, max_seq_length=60)
    assert answer["line"] == 4 and answer["kept"] == 60 < answer["tokens"] == len(answer["ids"])
    row = json.loads(Path(TRAIN).read_text().splitlines()[3])
    text = "".join(answer["texts"])
    said = "".join(text for text, bit in zip(answer["texts"], answer["trained"], strict=True) if bit)
    assert all(m["content"] in text for m in row["messages"])
    assert all((m["content"] in said) == (m["role"] == "assistant") for m in row["messages"])
    assert answer["learned"] == sum(answer["trained"][:60]) and answer["special"][0] == 1
    part = inspector.ask("tokens", model=MODEL, file=TRAIN, row=3, first=10, count=5)
    assert part["ids"] == answer["ids"][10:15] and part["tokens"] == answer["tokens"] == part["kept"]
    chat = inspector.ask("tokens", model=MODEL, chat=row)
    assert chat["ids"] == answer["ids"] and chat["line"] is None


def test_lengths_agree_with_tokens_and_end(inspector: Inspector, tmp_path: Path) -> None:
    whole = inspector.ask("lengths", model=MODEL, file=TRAIN, row=0, count=1000, max_seq_length=100, seconds=60)
    count = len(Path(TRAIN).read_text().splitlines())
    assert len(whole["lengths"]) == count and whole["next"] is None
    part = inspector.ask("lengths", model=MODEL, file=TRAIN, row=10, count=5, max_seq_length=100)
    assert (
        part["lengths"] == whole["lengths"][10:15] and part["learned"] == whole["learned"][10:15] and part["next"] == 15
    )
    for row in (14, 2, 399):
        answer = inspector.ask("tokens", model=MODEL, file=TRAIN, row=row, max_seq_length=100)
        assert (answer["tokens"], answer["learned"], answer["line"]) == (
            whole["lengths"][row], whole["learned"][row], whole["lines"][row])  # fmt: skip
    # A file that changes is read anew.
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    assert len(inspector.ask("lengths", model=MODEL, file=str(rows), row=0)["lengths"]) == 2
    write_rows(rows, 3)
    assert len(inspector.ask("lengths", model=MODEL, file=str(rows), row=0)["lengths"]) == 3


def test_the_template_can_be_another_one(inspector: Inspector, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = saved(folder, "smollm2")
    assert inspector.ask("open", model=model)["way"] == "prefix"
    facts = inspector.ask("open", model={**model, "template": t.COUNTED})
    assert facts["way"] == "" and [p["kind"] for p in facts["problems"]] == ["cannot-mark"]
    assert refusal(inspector, "tokens", model={**model, "template": t.COUNTED}, file=TRAIN, row=0).kind == "cannot-mark"
    whole = inspector.ask(
        "tokens", model={**model, "template": t.COUNTED}, assistant_only_loss=False, file=TRAIN, row=0
    )
    assert whole["way"] == "whole" and all(whole["trained"])
    (folder / "chat_template.jinja").unlink()
    facts = inspector.ask("open", model=model)
    assert not facts["template"] and [p["kind"] for p in facts["problems"]] == ["no-template"]
    assert refusal(inspector, "lengths", model=model, file=TRAIN, row=0).kind == "no-template"


def test_tokens_outside_of_the_model_and_ends_that_are_not_learned(inspector: Inspector, tmp_path: Path) -> None:
    facts = inspector.ask("open", model=saved(tmp_path / "small", "qwen2.5", size=500))
    assert [p["kind"] for p in facts["problems"]] == ["token-outside"]
    assert facts["outside"][0]["id"] >= 500 and "<tool_call>" in facts["problems"][0]["message"]
    facts = inspector.ask("open", model=saved(tmp_path / "alpaca", "alpaca"))
    assert "stop-not-trained" in [p["kind"] for p in facts["problems"]] and facts["stop_token_trained"] is False
    phi = saved(tmp_path / "phi3", "phi3")
    assert [p["kind"] for p in inspector.ask("open", model=phi)["problems"]] == []
    late = saved(tmp_path / "gemma", "gemma")
    assert [p["kind"] for p in inspector.ask("open", model=late)["problems"]] == ["end-not-known"]
    end = tokenizer("gemma").convert_tokens_to_ids("<end_of_turn>")
    (tmp_path / "gemma" / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, end]}))
    assert inspector.ask("open", model={**late, "template": of_trl("gemma")})["problems"] == []
    facts = inspector.ask("open", model=saved(tmp_path / "qwen3", "qwen3-edited"))
    assert "last-turn-only" in [p["kind"] for p in facts["problems"]]


def test_refusals_are_words(inspector: Inspector, tmp_path: Path) -> None:
    gemma = saved(tmp_path / "gemma", "gemma")
    bad = write_rows(tmp_path / "bad.jsonl", [{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "a"},
                                                            {"role": "assistant", "content": "b"}]}])  # fmt: skip
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    asked: list[tuple[str, dict[str, Any], str, str]] = [
        ("nonsense", {}, "bad-request", "nonsense"),
        ("open", {}, "bad-request", "no model"),
        ("open", {"model": {"base_model": "Nobody/nothing"}}, "not-downloaded", "hub cache"),
        ("open", {"model": {"base_model": "/nowhere/at/all"}}, "bad-model", "no directory"),
        ("open", {"model": {"base_model": str(empty)}}, "bad-model", "no causal language model"),
        ("tokens", {"model": MODEL}, "bad-request", "no file"),
        ("tokens", {"model": MODEL, "file": "/nowhere.jsonl"}, "unreadable-file", "/nowhere.jsonl"),
        ("tokens", {"model": MODEL, "file": TRAIN, "row": 9999}, "no-row", "10000"),
        ("tokens", {"model": MODEL, "file": TRAIN, "row": -1}, "bad-request", "row"),
        ("tokens", {"model": MODEL, "file": str(broken)}, "broken-json", "broken.jsonl:1"),
        ("tokens", {"model": gemma, "file": str(bad)}, "cannot-render", "System role not supported"),
    ]
    for what, fields, kind, words in asked:
        error = refusal(inspector, what, **fields)
        assert error.kind == kind and words in str(error), (what, fields, error)
    lengths = inspector.ask("lengths", model=gemma, file=str(bad), row=0)
    assert lengths["lengths"] == [0] and lengths["refused"][0]["line"] == 1 and lengths["next"] is None


def test_several_threads_get_their_own_answers(inspector: Inspector) -> None:
    found: dict[int, int] = {}

    def ask(row: int) -> None:
        found[row] = inspector.ask("tokens", model=MODEL, file=TRAIN, row=row)["line"]

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {row: row + 1 for row in range(24)}


def test_a_question_is_taken_back(inspector: Inspector, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "many.jsonl", 60_000)
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(InspectError) as caught:
        inspector.ask("lengths", cancelled=stop, model=MODEL, file=str(rows), row=0, count=10_000, seconds=60)
    assert caught.value.kind == "cancelled" and time.monotonic() - begun < 2
    with pytest.raises(InspectError) as caught:
        inspector.ask("lengths", timeout=0.3, model=MODEL, file=str(rows), row=0, count=10_000, seconds=60)
    assert caught.value.kind == "timeout"
    assert inspector.ask("tokens", model=MODEL, file=TRAIN, row=0)["line"] == 1, "the same process goes on"


def test_it_starts_anew_after_it_was_killed(tmp_path: Path) -> None:
    asked = Inspector(str(fake(tmp_path, 'answer(request["id"], {"pid": os.getpid()})')))
    first = asked.ask("open")["pid"]
    assert asked.ask("open")["pid"] == first == asked.pid
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while asked.pid is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asked.ask("open")["pid"] != first
    asked.close()
    assert refusal(asked, "open").kind == "inspector-ended"


FAKE = """#!{python} -I
import json, os, sys, time, signal
def answer(number, value): print(json.dumps({{"id": number, "ok": True, "answer": value}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "cancel" in request: continue
    {body}
"""


def fake(folder: Path, body: str) -> Path:
    """Stands in for the interpreter that runs the inspector."""
    path = folder / "python"
    path.write_text(FAKE.format(python=sys.executable, body=body))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("os.kill(os.getpid(), 9)", "SIGKILL, perhaps for want of memory"),
        ("sys.exit('no module named heavy')", "no module named heavy"),
        ("print('hello', flush=True); time.sleep(60)", "gave an answer that is none"),
        ("print('[1]', flush=True); time.sleep(60)", "gave an answer that is none"),
        ("answer(999, {}); time.sleep(60)", "gave an answer that is none"),
        ("answer(request['id'], 3); time.sleep(60)", "gave an answer that is none"),
        ("sys.stderr.write('x' * 300_000); sys.stderr.flush(); sys.exit(3)", "the inspector ended"),
    ],
)
def test_what_ends_it_is_said(tmp_path: Path, body: str, words: str) -> None:
    asked = Inspector(str(fake(tmp_path, body)))
    begun = time.monotonic()
    assert words in str(refusal(asked, "open", timeout=20))
    assert time.monotonic() - begun < 10
    asked.close()


def test_one_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.inspecting._GRACE_SECONDS", 0.2)
    asked = Inspector(str(fake(tmp_path, "time.sleep(60)")))
    begun = time.monotonic()
    assert refusal(asked, "open", timeout=0.3).kind == "timeout" and time.monotonic() - begun < 5
    asked.close()
    missing = Inspector(str(tmp_path / "no-such-python"))
    assert refusal(missing, "open").kind == "no-inspector"


def test_it_speaks_strictly_and_ends_with_its_input() -> None:
    lines = [b"no json", b"[1]", b'{"ask": "open"}', b'{"id": true, "ask": "open"}', b'{"id": 1, "ask": "x"}', b'{"cancel": 77}',
             b'{"id": "a", "ask": "y"}', b'{"id": 3}']  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "engine.worker.inspect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(b"\n".join(lines) + b"\n")
    child.stdin.flush()
    answers = [json.loads(child.stdout.readline()) for _ in range(7)]
    assert sorted(str(a["id"]) for a in answers) == ["1", "3", "None", "None", "None", "None", "a"]
    assert all(not a["ok"] and a["error"]["kind"] == "bad-request" for a in answers)
    long = {"id": 9, "ask": "lengths", "model": MODEL, "file": TRAIN, "count": 400, "seconds": 60}
    child.stdin.write(json.dumps(long).encode() + b"\n")
    child.stdin.close()  # while it works
    assert child.wait(10) == 0 and child.stdout.read() == b"", "one answer to each request"
    child.stdout.close()


def test_rows_by_number_forwards_and_backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.data import Reading
    from engine.worker.inspect import rows

    monkeypatch.setattr(rows, "_KEPT_ROWS", 4)
    path = write_rows(tmp_path / "rows.jsonl", 20)
    cursor = rows.Cursor(path, Reading())
    for number in (0, 5, 4, 3, 19, 0, 7, 7, 18):
        found = cursor.row(number, lambda: None)
        assert found is not None and found[0] == number + 1
    assert cursor.row(20, lambda: None) is None and cursor.row(2, lambda: None) is not None

    def stop() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        cursor.row(19, stop)
    assert cursor.row(19, lambda: None) is not None, "a walk that was broken off begins anew"
    with pytest.raises(FileNotFoundError):
        rows.Files().cursor(tmp_path / "gone", Reading())


def test_asking_loads_nothing_heavy() -> None:
    code = "import sys, engine.inspecting; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "trl", "tokenizers", "numpy", "pyarrow", "pydantic"} & set(loaded)


def test_showing_rows_and_measuring_them_do_not_send_each_other_back(tmp_path: Path) -> None:
    from engine.data import Reading
    from engine.worker.inspect.rows import Files

    path, files, read = write_rows(tmp_path / "rows.jsonl", 2000), Files(), []
    for row in range(1200, 1260):
        for purpose, at in (("tokens", row), ("lengths", row - 1200)):
            found = files.cursor(path, Reading(), purpose).row(at, lambda: read.append(1))
            assert found is not None and found[0] == at + 1
    assert len(read) == 1260 + 60

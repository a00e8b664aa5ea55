"""The reader of the model's answers: only what happened, in order, within bounds, however it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.events import encode
from engine.rundir import RunDir
from tests.support import make_run
from tui.watch import answers
from tui.watch.answers import AnswerReader


def sample(step: int, text: str, prompt: str = "Who?", attempt: int = 1, **more: Any) -> bytes:
    return encode({"type": "sample", "time": 1_790_000_000.0 + step, "attempt": attempt, "step": step, "prompt": prompt,
                   "completion": text, "seconds": 0.5, "tokens": 7, **more})  # fmt: skip


def step(number: int, attempt: int = 1) -> bytes:
    return encode({"type": "step", "time": 1_790_000_000.0, "attempt": attempt, "step": number, "loss": 1.0})


def add(run: RunDir, *lines: bytes) -> None:
    with run.events.open("ab") as file:
        file.write(b"".join(lines))


def read(reader: AnswerReader) -> list[tuple[int, dict[int, str]]]:
    while not reader.at_end:
        reader.poll()
    return [(r.step, {i: a.text for i, a in r.answers.items()}) for r in reader.answers(live=True).rounds]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return make_run(tmp_path / "run", steps=3)


def test_answers_come_by_step_and_prompt(run: RunDir) -> None:
    reader = AnswerReader(run.path)
    assert read(reader) == []
    add(run, sample(10, "a"), sample(10, "b", "Why?"), step(11), sample(20, "c"))
    assert read(reader) == [(10, {0: "a", 1: "b"}), (20, {0: "c"})]
    assert reader.answers(live=True).prompts == ["Who?", "Why?"]
    assert reader.poll() is False
    add(run, sample(20, "d", "Why?"))
    assert read(reader)[-1] == (20, {0: "c", 1: "d"})


def test_a_torn_line_waits_for_its_end_and_a_damaged_one_is_skipped(run: RunDir) -> None:
    reader = AnswerReader(run.path)
    line = sample(10, "whole")
    add(run, line[:40])
    assert read(reader) == []
    add(run, line[40:], sample(20, "bad").replace(b"bad", b"BAD"), sample(30, "good"))
    assert read(reader) == [(10, {0: "whole"}), (30, {0: "good"})]


def test_what_a_later_attempt_did_again_did_not_happen(run: RunDir) -> None:
    reader = AnswerReader(run.path)
    add(run, sample(10, "kept"), sample(20, "gone"), encode({"type": "phase", "time": 1.0, "attempt": 3, "name": "loading"}),
        step(16, 3), step(17, 3), sample(20, "new", attempt=3), sample(20, "late writer", attempt=1))  # fmt: skip
    assert read(reader) == [(10, {0: "kept"}), (20, {0: "new"})]


def test_texts_of_a_model_are_cleaned(run: RunDir) -> None:
    add(run, sample(10, "a\x1b]52;c;aGk=\x07b\x1b[2J\n\u202ec", prompt="p\x1b[31m"))
    reader = AnswerReader(run.path)
    found = read(reader)[0][1][0]
    assert "\x1b" not in found and "\u202e" not in found and found.startswith("ab\n")
    assert reader.answers(live=False).prompts == ["p"]


def test_a_file_that_is_replaced_is_read_anew(run: RunDir) -> None:
    reader = AnswerReader(run.path)
    add(run, sample(10, "a"))
    assert read(reader) == [(10, {0: "a"})]
    run.events.unlink()
    add(run, sample(5, "b"))
    assert reader.poll() and read(reader) == [(5, {0: "b"})]


def test_memory_is_bounded_and_first_and_newest_stay(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BUDGET", 10_000)
    add(run, *(sample(n, "x" * 100) for n in range(1, 1001)))
    reader = AnswerReader(run.path)
    steps = [number for number, _ in read(reader)]
    assert len(steps) < 130 and steps[0] == 1 and steps[-1] == 1000
    assert reader.answers(live=False).every > 1


def test_nonsense_is_left_out(run: RunDir) -> None:
    for event in ({"completion": 5, "step": 1}, {"completion": "x"}, {"completion": "x", "step": -1}, {"step": 1}):
        add(run, encode({"type": "sample", "time": 1.0, "attempt": 1, "prompt": "p", **event}))
    assert read(AnswerReader(run.path)) == []

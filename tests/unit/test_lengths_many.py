"""Many rows at once are marked as each alone is, and training hears how far it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.data import Chat
from engine.worker import dataset, many, rendering, tokencache
from engine.worker.dataset import Row
from engine.worker.inspect.lengths import spans_of
from engine.worker.marking import CannotRender, Marked, Marker
from tests.families import chats, tokenizer

QUIET: dict[str, Any] = {"system": False, "tools": False, "strict": True}
# Each way of marking: the template's own marks, TRL's, rendered beginnings; a template with rules of its own; pieces of bytes.
NAMES = ("qwen2.5", "llama3", "gemma", "smollm2", "chatml-marked", "mistral-3", "phi3-edited", "qwen3-edited")


def rows_of(name: str) -> list[Chat]:
    kinds: list[dict[str, Any]] = [{}, {"strict": True}, QUIET]
    given = [Chat(*row) for kind in kinds for row in chats(60, seed=7, **kind)]
    odd = [Chat([]), Chat([], None, "plain text"), Chat([{"role": "assistant", "content": None, "thinking": "hm"}]),
           Chat([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "name": None, "more": [1, {"x": 2}]}]),
           Chat([{"role": "assistant", "content": ""}], ["no tool"])]  # fmt: skip
    return given + odd


def alone(marker: Marker, chat: Chat) -> Marked | str:
    try:
        return marker.mark(chat)
    except CannotRender as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("only", [True, False])
def test_many_rows_are_marked_as_each_alone(name: str, only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows = tokenizer(name), rows_of(name)
    assert rendering.can_render(made)
    marker = Marker(made, assistant_only=only, limit=60)
    wanted = [alone(marker, row) for row in rows]
    for size in (7, 10_000):
        monkeypatch.setattr(many, "ROWS", size)
        found = [str(one) if isinstance(one, CannotRender) else one for one in many.marked(marker, rows)]
        assert found == wanted
    assert sum(isinstance(one, Marked) for one in wanted) > 50


def test_a_tokenizer_with_ways_of_its_own_is_asked_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tokenizer("qwen2.5")

    class Own(type(made)):  # type: ignore[misc]
        def apply_chat_template(self, *args: Any, **more: Any) -> Any:
            return super().apply_chat_template(*args, **more)

    monkeypatch.setattr(made, "__class__", Own)
    assert not rendering.can_render(made)
    marker, rows = Marker(made), [Chat(*row) for row in chats(5)]
    assert list(many.marked(marker, rows)) == [marker.mark(row) for row in rows]


def test_what_the_rows_raise_is_raised_after_those_before() -> None:
    marker = Marker(tokenizer("smollm2"))

    def rows() -> Any:
        yield Chat(*chats(1)[0])
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(many.marked(marker, rows()))
    assert list(many.marked(marker, [])) == []


def test_tokens_labels_and_progress_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "TELL_SECONDS", -1.0)
    monkeypatch.setattr(tokencache, "_ROWS", 16)
    marker = Marker(tokenizer("llama3"), limit=50)
    rows = [Row(Path("rows.jsonl"), number, Chat(*row)) for number, row in enumerate(chats(70), 1)]
    told: list[int] = []
    found = dataset.tokenised(rows, marker, told.append)
    assert told == [*range(1, 71), 70] and found.given == 70
    kept = [marked for marked in (marker.mark(row.chat) for row in rows) if marked.learned]
    assert found.dataset["input_ids"][:] == [marked.input_ids for marked in kept]
    assert found.dataset["labels"][:] == [marked.labels for marked in kept]
    assert found.cut == sum(marked.is_cut for marked in kept) and len(found) == len(kept) and json.dumps(told)
    assert len(dataset.tokenised([], marker)) == 0


def test_stretches_of_learned_tokens() -> None:
    assert spans_of([]) == [] and spans_of([0, 0]) == [] and spans_of([1]) == [0, 1]
    assert spans_of([0, 1, 1, 0, 0, 1]) == [1, 3, 5, 6]

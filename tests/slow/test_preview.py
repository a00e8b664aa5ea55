"""The preview over the sample model and its data: what is coloured is what the trainer's own marking says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.data import Chat, numbered_chats
from engine.samples import demo_values
from tests.pilot.test_launch import form, launch_app
from tests.support import until
from tui.preview.rowtext import IDS
from tui.screens.preview import PreviewScreen

pytestmark = pytest.mark.slow
LIMIT = 100


def coloured(screen: PreviewScreen) -> list[tuple[int, bool, bool]]:
    """From the lines that the list of tokens shows: id, whether it is drawn as trained, whether as cut off."""
    page = screen._laid.page
    lines = [page.row(place, 200) for place in range(page.count)]
    tokens = [line for line in lines if "cuts here" not in "".join(text for text, _ in line)]
    return [(int(line[0][0].split()[1]), line[1][0].strip() != "", "cut off" in line[2][0]) for line in tokens]


async def test_the_coloured_tokens_are_those_that_the_trainer_learns() -> None:
    from engine.worker import chat as chats
    from engine.worker.marking import Marker

    values: dict[str, Any] = {**demo_values(), "max_seq_length": LIMIT}
    tokenizer = chats.load_tokenizer({"base_model": values["base_model"], "revision": None, "trust_remote_code": False})
    marker = Marker(tokenizer, limit=LIMIT)
    data = Path(values["train_path"])
    rows: list[tuple[int, Chat]] = list(numbered_chats(data))
    app = launch_app(values)
    async with app.run_test(size=(120, 40)) as pilot:
        await form(app, pilot)
        await pilot.press("f10")
        await until(pilot, lambda: isinstance(app.screen, PreviewScreen) and app.screen.row is not None, 120)
        screen = app.screen
        assert isinstance(screen, PreviewScreen)
        await pilot.press("t", "t")
        assert screen.view == IDS
        cuts = 0
        for number in (0, 3, 7, len(rows) - 1):
            await pilot.press("g", *str(number + 1), "enter")
            await until(pilot, lambda number=number: screen.walk.place == (0, number), 30)
            await pilot.pause()
            marked = marker.mark(rows[number][1])
            shown = coloured(screen)
            assert [token for token, _, _ in shown] == marked.ids
            labels = [token if bit else -100 for token, bit, gone in shown if not gone]
            assert labels == marked.labels and any(label != -100 for label in labels)
            assert sum(gone for _, _, gone in shown) == len(marked.ids) - marked.kept
            said = json.loads(data.read_text().splitlines()[number])["messages"]
            assert all(message["content"] in "".join(screen.row.texts) for message in said)
            cuts += marked.is_cut
        assert cuts
        await pilot.press("tab")
        await until(pilot, lambda: screen.stats.complete, 60)
        every = [marker.mark(chat) for _, chat in rows]
        stats = screen.stats
        found = stats.lengths
        assert found is not None and not found.estimated
        assert (found.rows, found.tokens, found.trained, found.truncated, found.empty) == (
            len(rows), sum(len(m.ids) for m in every), sum(m.learned for m in every), sum(m.is_cut for m in every),
            sum(m.learned == 0 for m in every))  # fmt: skip
        assert paths.sample_data_dir() in data.parents

"""The screen of the model's answers: by step, compared, growing, hostile, wide, and empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.cells import cell_len

from engine.config.coerce import text_list
from engine.events import encode
from engine.rundir import RunDir
from tests.support import make_run, until
from tui.app import TunedeckApp
from tui.screens.samples import SamplesScreen
from tui.watch import answertext
from tui.watch.answers import AnswerReader, Answers

PROMPTS = ["How long do hard-boiled eggs take?", "파스타 삶는 물은 얼마나 짜야 하나요?"]
LONG = "짧은 답: 물 1리터에 소금 10그램쯤이 좋습니다.\n이유: " + "간은면이끓는동안에만배어듭니다" * 9


def shown(app: TunedeckApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


def say(run: RunDir, step: int, *texts: str, ended: str = "end") -> None:
    with run.events.open("ab") as file:
        for prompt, text in zip(PROMPTS, texts, strict=False):
            file.write(encode({"type": "sample", "time": 1_790_000_000.0, "attempt": 1, "step": step, "prompt": prompt,
                               "completion": text, "seconds": 0.4, "tokens": 29, "ended": ended}))  # fmt: skip


async def open_screen(app: TunedeckApp, pilot: Any, run: RunDir) -> SamplesScreen:
    screen = SamplesScreen(run.path, "eggs")
    app.push_screen(screen)
    await until(pilot, lambda: app.screen is screen and screen.answers is not None)
    await pilot.pause()
    return screen


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = make_run(tmp_path / "run", steps=3)
    say(made, 25, "Ten to eleven minutes.", "12시부터 4시까지는 실내에 계세요.", ended="length")
    say(made, 50, "Short answer: Ten minutes.", LONG)
    say(made, 75, "Short answer: Ten minutes.", LONG)
    return made


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_one_looks_through_steps_and_prompts(run: RunDir, size: tuple[int, int]) -> None:
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=size) as pilot:
        screen = await open_screen(app, pilot, run)
        assert "Answers  eggs" in shown(app) and "2 prompts, 3 steps" in shown(app)
        assert PROMPTS[0] in shown(app) and "Short answer: Ten minutes." in shown(app)
        assert "the same since step 50" in shown(app)
        await pilot.press("down", "down", "down")
        assert "Ten to eleven minutes." in shown(app) and "cut off here" in shown(app)
        await pilot.press("up", "tab")
        assert screen.chosen == 1 and screen.chosen_prompt == 1 and "짧은 답" in shown(app)
        await pilot.press("shift+tab", "shift+tab", "c")
        assert "steps 50 to 75" in shown(app) and "step 25" in shown(app) and "실내에" in shown(app)
        assert "Ten minutes" not in shown(app)
        for strip in screen._compositor.render_strips():
            assert cell_len(strip.text) <= size[0]
        await pilot.press("escape")
        assert app.screen is screen and not screen.comparing
        await pilot.press("escape")
        assert app.screen is not screen


async def test_a_live_run_grows_and_the_newest_is_followed(run: RunDir) -> None:
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await open_screen(app, pilot, run)
        say(run, 100, "Nine.", "아홉.")
        await until(pilot, lambda: "Nine." in shown(app))
        await pilot.press("down", "down")
        say(run, 125, "Eight.", "여덟.")
        await until(pilot, lambda: screen.answers is not None and len(screen.answers.rounds) == 5)
        assert screen.answers is not None and screen.answers.rounds[screen.chosen].step == 50
        await pilot.press("home")
        assert "Eight." in shown(app)


async def test_hostile_answers_stay_text(run: RunDir) -> None:
    app = TunedeckApp(theme_name="dark")
    say(run, 100, "[bold red]x[/] \x1b]52;c;aGk=\x07\x1b[2J$(rm) \u202eback", "   ")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_screen(app, pilot, run)
        assert "[bold red]x[/]" in shown(app) and "\x1b" not in shown(app) and "\u202e" not in shown(app)
        assert "(an empty answer)" in shown(app)


async def test_a_record_that_cannot_be_read_is_said_and_tried_again(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, tries = run.events.rename(run.meta / "kept"), 0
    run.events.mkdir()  # root may read everything: this cannot be
    real = AnswerReader.poll

    def poll(self: AnswerReader) -> bool:
        nonlocal tries
        tries += 1
        return real(self)

    monkeypatch.setattr(AnswerReader, "poll", poll)
    app = TunedeckApp(theme_name="dark")
    async with app.run_test(size=(80, 24)) as pilot:
        await open_screen(app, pilot, run)
        assert "cannot be read: events.jsonl is no file" in shown(app)
        await pilot.pause(0.1)
        assert tries <= 2
        run.events.rmdir()
        kept.rename(run.events)
        await until(pilot, lambda: "2 prompts, 3 steps" in shown(app))


async def test_a_run_without_answers_says_how_to_get_some(tmp_path: Path) -> None:
    app = TunedeckApp(theme_name="dark")
    asked = make_run(tmp_path / "asked", steps=3, config={"sample_prompts": ["Who?"]})
    async with app.run_test(size=(80, 24)) as pilot:
        await open_screen(app, pilot, make_run(tmp_path / "none", steps=3))
        assert "--sample_prompts" in shown(app) and "sample_prompts: prompts.txt" in shown(app)
        assert "older step" not in shown(app)  # nothing to choose
        await pilot.press("down", "tab", "c", "pagedown", "escape")
        await open_screen(app, pilot, asked)
        assert "ended before the model was asked" in shown(app)


def test_the_examples_are_what_one_can_type() -> None:
    lines = "\n".join("".join(text for text, _ in line) for line in answertext.nothing_yet(Answers(), 100)).splitlines()
    two = ["Who are you?", "What is LoRA?"]
    written = next(line for line in lines if '["' in line)
    assert yaml.safe_load(written) == {"sample_prompts": two}
    typed = next(line for line in lines if " | " in line).split("sample_prompts: ")[1]
    assert text_list(typed) == two


def test_wide_text_is_wrapped_within_its_cells() -> None:
    for width in (10, 11, 37, 100):
        lines = answertext.wrapped(LONG, width)
        assert all(cell_len(line) <= width for line in lines)
        assert "".join(lines).replace(" ", "") == LONG.replace(" ", "").replace("\n", "")

"""The preview, by keyboard alone, with a stand-in for the inspector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inspected import FakeInspector, refusal
from tests.pictures import compare
from tests.pilot.test_launch import SIZE, form, launch_app, shown, write
from tests.support import until, write_rows
from tui.app import TunedeckApp
from tui.launch import previewing
from tui.screens.launch import LaunchScreen
from tui.screens.preview import PreviewScreen

KOREAN = [("안녕하세요 여러분", "반갑습니다 모두"), ("What is tall?", "The   tower is.\nIt is 300 m."), ("빈 답", ""),
          ("long", "word " * 60), ("needle?", "Found it"), ("한국어 질문", "긴 답변 " * 30)]  # fmt: skip


def chats(pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]} for q, a in pairs]


@pytest.fixture
def inspector(monkeypatch: pytest.MonkeyPatch) -> FakeInspector:
    fake = FakeInspector()
    monkeypatch.setattr(previewing, "Inspector", lambda python: fake)
    return fake


@pytest.fixture
def values(tmp_path: Path) -> dict[str, Any]:
    rows = write_rows(tmp_path / "rows.jsonl", chats(KOREAN))
    return {"base_model": "Qwen/Qwen2.5-7B-Instruct", "train_path": str(rows), "max_seq_length": "40",
            "output_dir": str(tmp_path / "out")}  # fmt: skip


async def opened(app: TunedeckApp, pilot: Any, place: tuple[int, int] | None = (0, 0)) -> PreviewScreen:
    """The preview, opened from the form."""
    await form(app, pilot)
    await pilot.press("f10")
    await until(pilot, lambda: isinstance(app.screen, PreviewScreen) and app.screen.is_mounted)
    screen = app.screen
    assert isinstance(screen, PreviewScreen)
    if place is not None:
        await until(pilot, lambda: screen.row is not None and screen.walk.place == place)
        await pilot.pause()
    return screen


def told(app: TunedeckApp) -> str:
    """All that was said in passing."""
    return "\n".join(notice.message for notice in app._notifications)


async def at(pilot: Any, screen: PreviewScreen, row: int, file: int = 0) -> None:
    await until(pilot, lambda: screen.walk.place == (file, row) and screen.row is not None)
    await pilot.pause()


async def test_a_row_its_neighbours_and_the_form_behind(inspector: FakeInspector, values: dict[str, Any]) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await pilot.press("down", "down")
        focus = launch.list.current.name
        screen = await opened(app, pilot)
        text = shown(app)
        assert "Row 1 of 6" in text and "rows.jsonl:1" in text and "end of turn <|im_end|> is trained" in text
        assert "안녕하세요 여러분<|im_end|>" in text and "TRL's training version" in text
        await pilot.press("left")
        await until(pilot, lambda: "This is the first row" in told(app))
        await pilot.press("right")
        await at(pilot, screen, 1)
        assert "What is tall?" in shown(app) and "rows.jsonl:2" in shown(app)
        for number in (2, 3, 4, 5):
            await pilot.press("right")
            await at(pilot, screen, number)
        await pilot.press("right")
        await until(pilot, lambda: "This is the last row" in told(app))
        assert screen.walk.place == (0, 5)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is launch)
        assert (
            launch.list.current.name == focus and launch.model.text("max_seq_length") == "40" and not inspector.closed
        )
        await pilot.press("escape")
        await until(pilot, lambda: inspector.closed)


async def test_trained_tokens_have_a_colour_and_a_second_sign(inspector: FakeInspector, values: dict[str, Any]) -> None:
    for theme in ("dark", "light", "ansi"):
        app = TunedeckApp(initial="launch", values=values, theme_name=theme)
        async with app.run_test(size=SIZE) as pilot:
            screen = await opened(app, pilot)
            seen: dict[str, tuple[bool, object]] = {}
            for y in range(screen.sheet.size.height):
                for segment in screen.sheet.render_line(y):
                    if segment.style is not None:
                        seen[segment.text.strip()] = (bool(segment.style.underline), segment.style.color)
            assert seen["반갑습니다"][0] and not seen["안녕하세요"][0], theme
            assert seen["반갑습니다"][1] != seen["안녕하세요"][1] != seen["<|im_start|>"][1]
            lines = screen.sheet.text.splitlines()
            assert [line[0] for line in lines if "반갑습니다" in line or "안녕하세요" in line] == [" ", "│"]


async def test_jumping_searching_and_views(inspector: FakeInspector, values: dict[str, Any]) -> None:
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("g", *"4", "enter")
        await at(pilot, screen, 3)
        await pilot.press("g", *"77", "enter")
        await until(pilot, lambda: "There is no row 77 in this file" in told(app))
        await pilot.press("g", "x", "enter")
        await until(pilot, lambda: "x is no row number" in told(app))
        assert screen.walk.place == (0, 3)
        await pilot.press("slash")
        await write(pilot, "found")
        await pilot.press("enter")
        await at(pilot, screen, 4)
        assert any(line.startswith("▸") and "Found" in line for line in screen.sheet.text.splitlines())
        await pilot.press("slash")
        await pilot.press(*["backspace"] * 5)
        await write(pilot, "nowhere")
        await pilot.press("enter")
        await until(pilot, lambda: "No row holds 'nowhere'" in told(app))
        await pilot.press("slash", "escape")
        assert screen.walk.place == (0, 4) and app.screen is screen
        await pilot.press("t")
        assert "Found│ it│<|im_end|>" in screen.sheet.text and "token by token" in shown(app)
        await pilot.press("t")
        line = next(line for line in screen.sheet.text.splitlines() if '" it"' in line)
        assert "trained" in line and str(100 + screen.row.texts.index(" it")) in line
        await pilot.press("t")
        assert "as text" in shown(app)


async def test_where_it_is_cut_and_rows_with_nothing_to_train(inspector: FakeInspector, values: dict[str, Any]) -> None:
    inspector.texts[2] = []
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(app, pilot)
        assert "max_seq_length" not in shown(app)
        await pilot.press("c")
        await at(pilot, screen, 3)
        text = shown(app)
        assert "max_seq_length 40 cuts here" in text and f"{screen.row.cut} tokens left out" in text
        assert "end of turn <|im_end|> is cut off" in text
        await pilot.press("c")
        await at(pilot, screen, 5)
        await pilot.press("c")
        await until(pilot, lambda: "no row that max_seq_length cuts from here on" in told(app))
        await pilot.press("g", "1", "enter")
        await at(pilot, screen, 0)
        inspector.lengths_go.clear()
        await pilot.press("f5")
        await at(pilot, screen, 0)
        await pilot.press("c")
        await until(pilot, lambda: "Looking for a row" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "Looking for a row" not in shown(app))
        assert app.screen is screen
        inspector.lengths_go.set()


async def test_what_the_row_does_not_train_is_said(inspector: FakeInspector, values: dict[str, Any]) -> None:
    values["max_seq_length"] = "8"
    app = launch_app(values)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("e")
        await at(pilot, screen, 1)
        assert "Nothing of this row is trained" in shown(app) and "0 trained" in shown(app)
        await pilot.press("x")
        assert "cuts here" in shown(app)
        await pilot.press("e")
        await at(pilot, screen, 2)
        await pilot.press("e")
        await at(pilot, screen, 5)
        await pilot.press("t", "t")
        count = screen.sheet.page.count
        await pilot.press("end")
        await until(
            pilot, lambda: screen.sheet.position.endswith(f"{count:,} of {count:,}") or not screen.sheet.position
        )
        before = screen.sheet.position
        for key in ("up", "pageup", "home", "down", "pagedown"):
            await pilot.press(key)
            assert screen.sheet.position != before, key
            before = screen.sheet.position


async def test_lengths_and_the_suggestion_that_goes_into_the_form(
    inspector: FakeInspector, values: dict[str, Any]
) -> None:
    inspector.lengths_go.clear()
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("tab")
        await until(pilot, lambda: "Measuring the first rows" in shown(app))
        inspector.lengths_go.set()
        await until(pilot, lambda: "All 6 rows measured" in shown(app))
        text = shown(app)
        assert "Cut off at 40" in text and "Suggested length" in text and "128" in text and "s takes it over" in text
        await pilot.press("s")
        launch = next(s for s in app.screen_stack if isinstance(s, LaunchScreen))
        await until(pilot, lambda: "as it is now" in shown(app) and screen.stats.complete)
        assert (
            launch.model.text("max_seq_length") == "128" and "Cut off at 128" in shown(app) and "0 rows" in shown(app)
        )
        await pilot.press("tab")
        await until(pilot, lambda: screen.row is not None and "Row 1 of 6" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is launch)
        assert "128" in next(line for line in shown(app).splitlines() if "max_seq_length" in line)


async def test_loading_is_said_and_can_be_left(inspector: FakeInspector, values: dict[str, Any]) -> None:
    inspector.go.clear()
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot, None)
        await until(pilot, lambda: "Loading the tokenizer of Qwen2.5-7B-Instruct" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        await until(pilot, lambda: inspector.cancelled == 1)
        inspector.go.set()
        await opened(app, pilot)


async def test_troubles_are_words(inspector: FakeInspector, values: dict[str, Any]) -> None:
    inspector.failing["open"] = refusal("not-downloaded", "Qwen/Qwen2.5-7B-Instruct is not in the local hub cache",
                                        "Download it first, or give a local directory")  # fmt: skip
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(app, pilot, None)
        await until(pilot, lambda: "is not in the local hub cache" in shown(app))
        assert "Download it first" in shown(app)
        inspector.failing = {
            "tokens": refusal("cannot-mark", "nothing tells its turns apart", "Set assistant_only_loss to false")
        }
        await pilot.press("f5")
        await until(pilot, lambda: "Set assistant_only_loss to false" in shown(app) and "turns apart" in shown(app))
        inspector.failing = {"lengths": refusal("broken-json", "rows.jsonl:3: is no JSON")}
        inspector.bad_rows[1] = refusal("cannot-render", "System role not supported", "Change the row")
        await pilot.press("f5")
        await at(pilot, screen, 0)
        await pilot.press("right")
        await until(pilot, lambda: "System role not supported" in shown(app))
        await pilot.press("right")
        await at(pilot, screen, 2)
        await pilot.press("tab")
        await until(pilot, lambda: "rows.jsonl:3: is no JSON" in shown(app))


async def test_without_data_the_form_goes_to_what_is_missing(inspector: FakeInspector, values: dict[str, Any]) -> None:
    del values["train_path"]
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        launch = await form(app, pilot)
        await pilot.press("escape", "down", "f10")
        await until(pilot, lambda: "train_path is not filled in yet" in told(app))
        assert app.screen is launch and launch.list.current.name == "train_path" and not inspector.asked


async def test_several_files_follow_each_other(
    inspector: FakeInspector, values: dict[str, Any], tmp_path: Path
) -> None:
    two = write_rows(tmp_path / "two.jsonl", chats([("second file", "yes"), ("its end", "no")]))
    values["train_path"] += f",{two}:1"
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("g", *"6", "enter")
        await at(pilot, screen, 5)
        await pilot.press("right")
        await at(pilot, screen, 0, 1)
        assert "second file" in shown(app) and "two.jsonl:1  file 2 of 2" in shown(app)
        await pilot.press("left")
        await at(pilot, screen, 5)
        await pilot.press("g", "2", "colon", "2", "enter")
        await at(pilot, screen, 1, 1)
        await pilot.press("tab")
        await until(pilot, lambda: "All 8 rows measured" in shown(app))
        assert "As many rows of each file as the run takes: 7 rows" in shown(app)


async def test_hostile_tokens_cannot_reach_the_terminal(inspector: FakeInspector, values: dict[str, Any]) -> None:
    inspector.texts[0] = ["\x1b", "[2J", "\x9b31m", "\u202e", "", "x\x07", "[/red]", "\x00", "👩", "\u200d", "💻"]
    inspector.facts["words"] = "words\x1b[2J"
    inspector.facts["problems"] = [{"kind": "x", "message": "bad \x1b[31m[/b]", "hint": "", "severity": "warning"}]
    app = launch_app(values)
    async with app.run_test(size=SIZE) as pilot:
        await opened(app, pilot)
        for _ in range(3):
            text = shown(app)
            assert all(character.isprintable() or character == "\n" for character in text)
            assert "\\x1b" in text and "\\u202e" in text and "[/red]" in text
            await pilot.press("t")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_pictures(
    size: tuple[int, int], inspector: FakeInspector, values: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    update = request.config.getoption("--update-snapshots")
    inspector.texts[3] = ["Seoul", " is", " the", " capital", ".", "\n\n", "서울은", " 수도", "입니다", " word" * 9] * 6
    app = launch_app(values)
    async with app.run_test(size=size) as pilot:
        screen = await opened(app, pilot)
        await pilot.press("g", "4", "enter")
        await at(pilot, screen, 3)
        for key, name in (("", "text"), ("t", "borders"), ("t", "ids"), ("tab", "lengths")):
            if key:
                await pilot.press(key)
            await until(pilot, lambda name=name: name != "lengths" or screen.stats.complete)
            await pilot.pause(0.4)
            compare(app, f"preview-{name}-{size[0]}x{size[1]}", update=update)

"""The log pane by keyboard, on real files: back to the beginning, searches, warnings, long and wide lines, floods."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tests.support import until
from tui.watch import logfile, logrows, logsearch
from tui.watch.logfile import LogFile
from tui.widgets import logkept
from tui.widgets.logtail import LogTail
from tui.widgets.searchline import SearchLine


class LogApp(App[None]):
    """The pane alone, with the keys of the live screen."""

    BINDINGS: ClassVar = [
        ("pageup", "log.page(1)"), ("pagedown", "log.page(-1)"), ("end", "log.follow"), ("slash", "log.ask_search"),
        ("n", "log.next_match(1)"), ("N", "log.next_match(-1)"), ("w", "log.toggle_warnings"),
        ("right", "log.scroll_side(1)"), ("left", "log.scroll_side(-1)"), ("L", "log.set_wrapped(True)"),
        ("escape", "log.end_search"),
    ]  # fmt: skip

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.reader = LogFile(path)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"faint": "#888888"}

    def compose(self) -> ComposeResult:
        yield LogTail("train.log")

    def on_mount(self) -> None:
        self.log_pane.styles.height = "1fr"
        self.set_interval(0.02, self.read)

    def read(self) -> None:
        view = self.reader.poll()
        if view is not None:
            self.log_pane.set_log(view)

    def on_log_tail_wanted(self, message: LogTail.Wanted) -> None:
        self.reader.ask(message.ask)

    @property
    def log_pane(self) -> LogTail:
        return self.query_one(LogTail)

    async def run_action(self, action: object, *more: object, **named: object) -> bool:
        name, _, arguments = str(action).partition("(")
        if not name.startswith("log."):
            return await super().run_action(action, *more, **named)  # type: ignore[arg-type]
        values = [value == "True" if value in ("True", "False") else int(value) for value in [arguments[:-1]] if value]
        getattr(self.log_pane, name[4:])(*values)
        return True

    @property
    def body(self) -> list[str]:
        return [line for line in self.log_pane.text.splitlines()[1:] if line]

    @property
    def rule(self) -> str:
        return self.log_pane.text.splitlines()[0]


@contextmanager
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (logrows, logfile, logsearch):
            patch.setattr(module, "BLOCK", 4096)
        patch.setattr(logkept, "MOST_ROWS", 1200)
        yield


async def test_back_to_the_beginning_and_on_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"  line {i}\n" for i in range(3000)))
    with small_blocks():
        app = LogApp(path)
        async with app.run_test(size=(60, 50)) as pilot:
            pane = app.log_pane
            await until(pilot, lambda: "line 2999" in app.body[-1:][0] if app.body else False)
            first = 2951
            while first:
                await pilot.press("pageup")
                pane.page(3)
                await until(pilot, lambda: not pane._pending)
                shown = [int(line.split()[1]) for line in app.body]
                assert shown == list(range(shown[0], shown[0] + len(shown))) and len(shown) == 49  # nothing missing
                assert first - 192 <= shown[0] < first
                assert len(pane._kept.rows) <= 1200  # bounded
                first = shown[0]
            assert "at 0% of" in app.rule and "End follows" in app.rule
            last = 0
            while not pane.following:
                await pilot.press("pagedown")
                pane.page(-3)
                await until(pilot, lambda: not pane._pending)
                shown = [int(line.split()[1]) for line in app.body]
                assert shown == list(range(shown[0], shown[0] + len(shown)))
                assert last < shown[0] <= last + 192
                last = shown[0]
            assert shown[-1] == 2999


async def test_a_search_by_keyboard_goes_beyond_the_kept_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"step {i} {'Special' if i % 1999 == 0 else 'plain'}\n" for i in range(8100)))
    app = LogApp(path)
    async with app.run_test(size=(80, 12)) as pilot:
        pane = app.log_pane
        await until(pilot, lambda: len(app.body) == 11)
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.focused, SearchLine))
        await pilot.press(*"special", "enter")
        await until(pilot, lambda: "5 matches" in app.rule)
        assert not pane.query(SearchLine) and pane.searching
        for number, step in enumerate((7996, 5997, 3998, 1999, 0), 1):
            await pilot.press("n")
            await until(pilot, lambda step=step: any(f"step {step} Special" in line for line in app.body))  # type: ignore[misc]
            await until(pilot, lambda number=number: f"match {number} of 5" in app.rule)  # type: ignore[misc]
            here = next(line for line in pane.lines if f"step {step} Special" in "".join(text for text, _ in line))
            assert here[0][0] == "▌ " and ("Special", "match") in here
        assert pane._style("match").reverse
        await pilot.press("N")
        await until(pilot, lambda: "match 4 of 5" in app.rule and any("step 1999" in line for line in app.body))
        await pilot.press("end")
        await until(pilot, lambda: "step 8099" in app.body[-1])
        await pilot.press("escape")
        await until(pilot, lambda: not pane.searching and "match" not in app.rule)
        await pilot.press("slash", *"Special", "escape")
        await until(pilot, lambda: not pane.query(SearchLine) and not pane.searching)


async def test_only_warnings_and_errors(tmp_path: Path) -> None:
    path = tmp_path / "log"
    trace = ["Traceback (most recent call last):", '  File "x.py", line 1', "KeyError: 3"]
    lines = [f"step {i}" for i in range(50_000)]
    lines[20:20] = trace
    lines[30_000:30_000] = ["UserWarning: odd"]
    path.write_text("\n".join(lines) + "\n")
    app = LogApp(path)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: len(app.body) == 11)
        await pilot.press("w")
        await until(pilot, lambda: len(app.body) == 4)
        assert [line[2:] for line in app.body] == [*trace, "UserWarning: odd"]
        assert [line[0] for line in app.body] == ["✗", "✗", "✗", "!"] and "only warnings and errors" in app.rule
        with path.open("a") as file:
            file.write("fine\nERROR: broken\n")
        await until(pilot, lambda: app.body[-1] == "✗ ERROR: broken")
        await pilot.press("w")
        await until(pilot, lambda: len(app.body) == 11 and app.body[-2] == "  fine")


async def test_the_place_is_kept_while_lines_come_and_the_flood_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"  line {i}\n" for i in range(100)))
    app = LogApp(path)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: "    line 99" in app.body)
        await pilot.press("pageup")
        before = app.body
        assert "lines below" in app.rule
        with path.open("a") as file:
            file.writelines(f"  line {i}\n" for i in range(100, 100_000))
        await until(pilot, lambda: app.log_pane._view.size > 1_000_000)
        assert app.body == before and " of 1." in app.rule
        for _ in range(500):  # what was skipped is read, and until then there is no further page
            if any("line 110" in line for line in app.body):
                break
            await pilot.press("pagedown")
        assert any("line 110" in line for line in app.body)
        await pilot.press("end")
        await until(pilot, lambda: "line 99999" in app.body[-1])
        with path.open("a") as file:
            file.writelines(f"  line {i}\n" for i in range(100_000, 200_000))
        await until(pilot, lambda: "skipped" in app.body[0] and "line 199999" in app.body[-1])


async def test_long_and_wide_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    rng = random.Random(1)
    long = "".join(rng.choice("가나다라abc") for _ in range(300))
    path.write_text(f"short\n{long}\n")
    app = LogApp(path)
    async with app.run_test(size=(41, 30)) as pilot:
        await until(pilot, lambda: len(app.body) == 2)
        assert app.body[1].endswith("…") and all(cell_len(line) <= 41 for line in app.body)
        seen = app.body[1][2:-1]
        for _ in range(40):
            await pilot.press("right")
            assert all(cell_len(line) <= 41 for line in app.log_pane.text.splitlines())
            assert "from column" in app.rule
            if len(app.body) > 1 and not app.body[1].endswith("…"):
                break
        assert seen[:5] == long[:5] and app.body[1].endswith(long[-5:])
        await pilot.press("L")
        assert "".join(line[2:] for line in app.body) == "short" + long
        assert all(cell_len(line) <= 41 for line in app.body)


async def test_what_happened_to_the_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.mkdir()
    app = LogApp(path)
    async with app.run_test(size=(80, 12)) as pilot:
        await until(pilot, lambda: "is a directory" in app.log_pane.text)
        app.log_pane.search("hello")
        app.log_pane._want("around", 0)
        app.log_pane._draw()
        assert "is a directory" in app.log_pane.text and "searching" not in app.rule
        app.log_pane.end_search()
        path.rmdir()
        path.write_text("hello\n")
        await until(pilot, lambda: app.body == ["  hello"])
        path.unlink()
        await until(pilot, lambda: "is gone" in app.rule and app.body == ["  hello"])
        path.write_text("other\nlines\n")
        await until(pilot, lambda: app.body == ["  other", "  lines"])

"""The line with the live runs: order, neighbours, what fits."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from engine.history import RunSummary
from tui.watch.strip import neighbour, strip


def run(number: int, **more: object) -> RunSummary:
    values: dict[str, object] = {
        "id": f"id{number}", "path": f"/runs/{number}", "name": f"run-{number}", "tool": "tunedeck", "state": "running",
        "step": 10 * number, "total_steps": 100, "created": float(number),
    }  # fmt: skip
    return RunSummary(**{**values, **more})  # type: ignore[arg-type]


def text(runs: list[RunSummary], path: str, width: int) -> str:
    return "".join(part for part, _ in strip(runs, path, width))


def test_a_run_alone_needs_no_strip() -> None:
    assert strip([run(1)], "/runs/1", 80) == [] and strip([], "/runs/1", 80) == []


def test_the_watched_one_is_marked_and_order_is_that_of_the_starts() -> None:
    line = text([run(3), run(1), run(2)], "/runs/2", 120)
    assert line.index("run-1") < line.index("▌● run-2 20%") < line.index("run-3")


def test_an_ended_run_is_left_for_the_first_live_one() -> None:
    runs = [run(2), run(1)]
    assert [neighbour(runs, "/runs/9", by).path for by in (1, -1)] == ["/runs/1", "/runs/2"]  # type: ignore[union-attr]
    assert neighbour([run(1)], "/runs/1", 1) is None


def test_one_comes_round_to_where_one_began() -> None:
    runs, here = [run(n) for n in (5, 2, 4, 1, 3)], "/runs/1"
    seen = []
    for _ in range(5):
        other = neighbour(runs, here, 1)
        assert other is not None and neighbour(runs, other.path, -1).path == here  # type: ignore[union-attr]
        here = other.path
        seen.append(here)
    assert sorted(seen) == sorted(r.path for r in runs) and here == "/runs/1"


@pytest.mark.parametrize("watched", [1, 7, 15])
def test_it_never_is_wider_than_the_screen_and_counts_what_it_leaves_out(watched: int) -> None:
    runs = [run(n, name=f"한국어 실행 {n}" * 3) for n in range(1, 16)]
    for width in range(20, 300, 3):
        line = text(runs, f"/runs/{watched}", width)
        assert cell_len(line) <= width
        if width > 40:
            shown = line.count("●")
            assert shown >= 1 and "▌" in line and int(line.rsplit("+", 1)[1].split(" ")[0]) == 15 - shown


def test_states_are_told_in_words_too() -> None:
    runs = [run(1), run(2, state="queued", queue_position=3), run(3, stalled=True), run(4, step=None, state="starting")]
    line = text(runs, "/runs/1", 200)
    assert "run-2 queued 3" in line and "run-3 30% stalled" in line and "run-4 starting" in line


def test_names_of_others_are_cleaned() -> None:
    assert "\x1b" not in text([run(1), run(2, name="\x1b]52;c;x\x07evil")], "/runs/1", 100)

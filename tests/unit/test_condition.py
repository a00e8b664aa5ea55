"""How a run fares in one line: each condition with its evidence, the most urgent first, and no flicker."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import status as states
from engine.events import EventWriter
from engine.snapshot import RunFollower
from engine.status import RunState
from tests.support import append_step, make_run
from tui.glyphs import ASCII, glyphs
from tui.watch import condition, hardware, signs, words
from tui.watch.facts import LAST_VALUES, Facts
from tui.watch.feed import WatchFeed
from tui.watch.machine import Card, Machine, read
from tui.watch.signs import Sign, Watcher
from tui.widgets.lines import Line

GIB = 1024**3


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


class Story:
    """A run that is told step by step, and what is said of it."""

    def __init__(self, **config: Any) -> None:
        self.follower = RunFollower(Path("nowhere"))
        self.view = self.follower.view
        self.view.state = RunState(states.RUNNING)
        self.view.run = {"config": config}
        self.watcher = Watcher()
        self.now, self.step = 1e9, 0
        self.machine = Machine()
        self.tell("phase", name="training")

    def tell(self, type: str, **fields: Any) -> None:
        self.follower._apply({"type": type, "time": self.now, "attempt": 1, **fields})

    def train(self, steps: int, loss: Callable[[int], float], seconds: float = 0.5) -> list[tuple[str, ...]]:
        """Go on; the kinds of signs after each step."""
        seen = []
        for _ in range(steps):
            self.step += 1
            self.now += seconds
            self.tell("step", step=self.step, total_steps=10_000, loss=loss(self.step), step_seconds=seconds)
            seen.append(self.kinds())
        return seen

    def read(self, **fields: Any) -> tuple[str, ...]:
        """A reading of the machine."""
        self.follower._apply_supervisor({"type": "hardware", "time": self.now, **fields})
        self.machine = read(self.view.hardware, self.view.readings)
        return self.kinds()

    def kinds(self) -> tuple[str, ...]:
        return tuple(sign.kind for sign in self.watcher.follow(self.view, self.machine, self.now))

    @property
    def said(self) -> str:
        self.watcher._renewed = self.watcher._renewed - 100  # as a few seconds later
        self.watcher._seen = None
        return " | ".join(sign.text for sign in self.watcher.follow(self.view, self.machine, self.now))


def noisy(seed: int, level: Callable[[int], float], noise: float = 0.1) -> Callable[[int], float]:
    rng = random.Random(seed)
    return lambda step: level(step) + rng.gauss(0, noise)


def changes(seen: list[tuple[str, ...]]) -> int:
    return sum(a != b for a, b in itertools.pairwise(seen))


# -- from the figures ---------------------------------------------------------------------------------------------------


def test_a_falling_loss_is_progress_and_says_so_in_numbers() -> None:
    story = Story()
    seen = story.train(400, noisy(0, lambda step: 2.0 - step / 400, 0.05))
    assert set(seen[5:]) == {("progressing",)}
    assert "loss 1.0" in story.said and "falling" in story.said and "over 200 steps" in story.said
    assert "a step takes 0.50 s" in story.said


def test_noise_alone_is_neither_falling_nor_climbing() -> None:
    for seed in range(8):
        story = Story()
        seen = story.train(600, noisy(seed, lambda step: 1.5, 0.4))
        assert set(seen[5:]) == {("progressing",)}
        assert "level" in story.said


def test_a_slow_run_names_both_paces_and_does_not_flicker() -> None:
    story = Story()
    story.train(200, noisy(0, lambda step: 1.0))
    assert story.train(40, noisy(1, lambda step: 1.0), seconds=1.2)[-1] == ("slow",)
    assert "a step takes 1.2 s, 0.50 s before" in story.said
    rng = random.Random(3)
    seen = []
    for _ in range(200):  # right at the threshold
        seen += story.train(1, lambda step: 1.0, seconds=0.75 + rng.uniform(-0.08, 0.08))
    assert changes(seen) <= 2
    assert story.train(60, noisy(2, lambda step: 1.0))[-1] == ("progressing",)


def test_a_single_long_step_is_not_slow() -> None:
    story = Story()
    story.train(200, noisy(0, lambda step: 1.0))
    seen = story.train(1, lambda step: 1.0, seconds=40.0) + story.train(30, lambda step: 1.0)
    assert set(seen) == {("progressing",)}


def test_a_loss_that_climbs_diverges_and_comes_back() -> None:
    story = Story()
    story.train(300, noisy(0, lambda step: 1.0))
    assert story.train(60, noisy(1, lambda step: 3.0))[-1] == ("diverging",)
    assert "loss 3.0" in story.said and "after 0.9" in story.said
    assert "diverging" not in story.train(60, noisy(2, lambda step: 1.05))[-1]


def test_idle_cards_are_seen_only_while_training() -> None:
    def readings(use: int, count: int) -> Iterator[tuple[str, ...]]:
        for _ in range(count):
            story.train(10, noisy(1, lambda step: 1.0))
            yield story.read(gpus=[{"index": 0, "utilization": use, "own": True}, {"index": 1, "utilization": 0, "own": False}],
                             host={"cpu": 12.0, "run_cpu": 101.0, "cores": 16})  # fmt: skip

    story = Story()
    assert set(readings(97, 15)) == {("progressing",)}
    seen = list(readings(4, 15))
    assert seen[-1] == ("idle",) and seen[3] == ("progressing",)
    assert "GPU 0 at most 4% in use over the last minute" in story.said and "1.0 processor cores" in story.said
    assert changes([*readings(4, 5), *readings(14, 8)]) == 0, "between the two thresholds it stays as it is"
    assert list(readings(97, 2))[-1] == ("progressing",)
    story.tell("phase", name="evaluating")
    for _ in range(20):
        story.now += 5
        assert "idle" not in story.read(gpus=[{"index": 0, "utilization": 0, "own": True}])


def test_an_idle_card_is_not_told_of_an_evaluation_that_follows() -> None:
    story = Story()
    for _ in range(15):
        story.train(10, noisy(1, lambda step: 1.0))
        seen = story.read(gpus=[{"index": 0, "utilization": 4, "own": True}])
    assert seen == ("idle",)
    story.tell("phase", name="evaluating")
    story.now += 1.1
    assert "idle" not in story.kinds()


@pytest.mark.parametrize(
    "odd", ["NaN", math.nan, math.inf, -1, 10**400, 1e-300, 0, None, "many", []], ids=lambda odd: repr(odd)[:12]
)
def test_figures_of_the_machine_that_cannot_be_are_unknown(odd: Any) -> None:
    story = Story(save_steps=1000)
    story.train(50, noisy(0, lambda step: 1.0))
    story.tell("step", step=51, loss=1.0, gpu_memory_allocated=odd, gpu_memory_reserved=odd, gpu_memory_peak=odd)
    card = {"index": 0, "own": True, "utilization": odd, "temperature": odd, "power": odd}
    for fields in (
        {"memory_used": odd, "memory_total": 80 * GIB},
        {"memory_used": GIB, "memory_total": odd, "memory_own": odd},
    ):
        host = {"cpu": odd, "cores": odd, "memory_used": GIB, "memory_total": odd, "run_memory": odd}
        story.now += 10
        story.read(gpus=[{**card, **fields}], host=host, disk={"free": GIB, "total": odd, "next_checkpoint": odd})
        assert "disk" not in story.kinds()
        values = {name: story.view.steps.last(name) for name in LAST_VALUES}
        live = facts(machine=story.machine, values=values)
        for width, height in ((120, 40), (40, 8)):
            shown = "\n".join(text(line) for line in hardware.lines(live, story.now, width, height))
            assert "1.0 GiB free" in shown and "nan" not in shown and "inf" not in shown


def test_disk_short_counts_the_checkpoints_to_come() -> None:
    story = Story(save_steps=1000)
    story.train(50, noisy(0, lambda step: 1.0))
    disk = {"total": 500 * GIB, "next_checkpoint": GIB}
    assert story.read(disk={**disk, "free": 100 * GIB}) == ("progressing",)
    story.now += 2
    assert story.read(disk={**disk, "free": 4 * GIB})[0] == "disk"
    assert "room for 4 checkpoints of 1.0 GiB; 10 are to come" in story.said
    assert story.watcher.signs[0].level == "warning"
    story.now += 6
    story.read(disk={**disk, "free": GIB // 2})
    assert story.watcher.signs[0].level == "error" and "512 MiB free, the next checkpoint needs 1.0 GiB" in story.said
    limited = Story(save_steps=1000, save_total_limit=2)
    limited.train(50, noisy(0, lambda step: 1.0))
    assert limited.read(disk={**disk, "free": 4 * GIB}) == ("progressing",), "old ones make room"


def test_words_of_a_sign_that_stays_are_renewed_every_few_seconds_only() -> None:
    story = Story()
    story.train(100, noisy(0, lambda step: 2.0 - step / 200))
    texts = []
    for _ in range(200):
        story.train(1, noisy(0, lambda step: 2.0 - step / 400), seconds=0.1)
        texts.append(story.watcher.signs[0].text)
    assert sum(a != b for a, b in itertools.pairwise(texts)) <= 20 / signs.RENEW_SECONDS + 1


def test_a_long_record_is_looked_at_in_a_moment() -> None:
    story = Story()
    for step in range(1, 30_001):
        story.view.steps.append(step, step * 0.1, {"loss": 1.0, "step_seconds": 0.1})
    began = time.perf_counter()
    assert story.kinds() == ("progressing",)
    assert time.perf_counter() - began < 0.5


def test_a_loss_that_climbs_slowly_is_said_before_it_diverges() -> None:
    story = Story()
    story.train(200, noisy(0, lambda step: 1.0, 0.05))
    kinds = story.train(200, noisy(1, lambda step: 1.0 + (step - 200) / 500, 0.05))
    assert ("climbing",) in kinds
    assert "up 2" in story.said and "over 200 steps" in story.said


# -- in words -----------------------------------------------------------------------------------------------------------


def facts(**fields: Any) -> Facts:
    base = Facts(Path("x"), name="x", state=RunState(states.RUNNING), step=120, total_steps=400, last_event=time.time(),
                 signs=(Sign("progressing", "success", "loss 0.84, falling 3% over 200 steps; a step takes 0.52 s"),))  # fmt: skip
    return replace(base, **fields)


def test_the_line_of_a_run_that_goes_well() -> None:
    assert text(condition.line(facts(), time.time())).startswith("✓ progressing: loss 0.84, falling 3%")
    lines = [text(line) for line in words.head(facts(), time.time(), 100, None)]
    assert lines[2].startswith("✓ progressing")


def test_what_is_urgent_stands_first() -> None:
    now = time.time()
    disk = Sign("disk", "error", "0.5 GiB free, the next checkpoint needs 1.0 GiB")
    idle = Sign("idle", "warning", "GPU 0 at most 3% in use over the last minute")
    line = text(condition.line(facts(signs=(disk, idle), values={"loss": float("nan")}, step=9), now))
    assert line.index("✗ not finite") < line.index("✗ disk short") < line.index("! idle GPU")
    assert "progressing" not in line
    stalled = facts(state=RunState(states.RUNNING, stalled=True), last_event=now - 45, median_step=0.5,
                    machine=Machine(time=now, cards=(Card(0, utilization=0.0, mine=True),), run_cpu=2.0))  # fmt: skip
    line = text(condition.line(stalled, now))
    assert line.startswith("! stalled: no sign for 45s (a step usually takes 0.50 s); GPU 0%, processor 0.0 cores")
    head = [text(part) for part in words.head(stalled, now, 120, None)]
    assert sum("no sign for" in part for part in head) == 1


def test_phases_are_said_with_progress_and_duration() -> None:
    now = time.time()
    from engine.snapshot import Phase

    line = condition.line(facts(phase=Phase("evaluating", 20, 40, now - 7)), now)
    assert text(line) == "◌ evaluating 20 / 40   for 7s"
    short = condition.line(facts(phase=Phase("evaluating", 1, 40, now - 1)), now)
    assert text(short).startswith("✓ progressing"), "a short one is no news"
    loading = facts(step=0, signs=(), phase=Phase("loading", None, None, now - 12), state=RunState(states.STARTING))
    assert text(condition.line(loading, now)) == "◌ loading the model   for 12s"
    first = facts(step=0, signs=(), phase=Phase("training", 0, 40, now - 3), state=RunState(states.STARTING))
    assert "the first step is under way" in text(condition.line(first, now))


@pytest.mark.parametrize("state", [states.QUEUED, states.COMPLETED, states.FAILED, states.LOST])
def test_nothing_is_said_of_a_run_that_does_not_run(state: str) -> None:
    assert condition.line(facts(state=RunState(state)), time.time()) == []


def test_a_silent_host_is_not_judged() -> None:
    now = time.time()
    away = facts(state=RunState(states.RUNNING, here=False, host="node7"), host="node7", last_event=now - 400)
    assert text(condition.line(away, now)).startswith("? silent") and "6m 40s" in text(condition.line(away, now))


def test_ascii_and_colour_are_never_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(condition, "glyphs", lambda: ASCII)
    for sign in ("success", "warning", "error"):
        line = text(condition.line(facts(signs=(Sign("disk", sign, "x"),)), time.time()))
        assert line.isascii() and line[0] in "+!x" and "disk short" in line
    assert glyphs().ascii is False


def test_a_real_record_tells_its_condition(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=90, total=200, state="running", created=time.time() - 90)
    writer = EventWriter(run.events)
    writer.write("phase", name="training")
    writer.write("notice", level="warning", text="Step 90: the loss is climbing", kind="divergence")
    writer.close()
    feed = WatchFeed(run.path)
    update = feed.poll()
    assert update is not None and [sign.kind for sign in update.facts.signs] == ["progressing"]
    append_step(run, 91, float("nan"), step_seconds=0.5)
    update = feed.poll()
    assert update is not None
    head = "\n".join(text(line) for line in words.head(update.facts, time.time(), 120, None))
    assert head.count("of no use") == 1 and "✗ not finite" in head

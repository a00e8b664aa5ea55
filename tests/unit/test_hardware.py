"""Sampling never holds a run up, and the pane of the machine says what the readings say, at any size."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from engine import status as states
from engine.hardware import CardReader, gpus, sensible
from engine.status import RunState
from engine.supervisor import sampling
from engine.supervisor.processes import Family, machine_usage
from engine.supervisor.sampling import Sampler, own_cards, own_share
from engine.view import RunView
from tui.glyphs import ASCII
from tui.watch import bars, hardware, times, values
from tui.watch.facts import Facts
from tui.watch.machine import Machine, read
from tui.watch.signs import Sign

GIB = 1024**3


# -- sampling -----------------------------------------------------------------------------------------------------------


def reading(sampler: Sampler, view: RunView, seconds: float = 5.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = sampler.look(view)
        if found is not None:
            return found
        time.sleep(0.02)
    raise AssertionError("no reading")


def test_a_reading_of_this_machine(tmp_path: Path) -> None:
    view = RunView(tmp_path)
    view.checkpoints.append({"step": 5, "bytes": 12345})
    event = reading(Sampler(tmp_path, os.getpid(), None, lambda: []), view)
    assert event["gpus"] == [] and "driver" not in event
    host, disk = event["host"], event["disk"]
    assert 0 < host["run_memory"] < host["memory_total"] and host["cores"] >= 1 and "pids" not in host
    free = os.statvfs(tmp_path)
    assert disk["free"] == pytest.approx(free.f_bavail * free.f_frsize, rel=0.05) and disk["next_checkpoint"] == 12345


def test_room_stands_still_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files take room beside the older ones, which go after it; and what it needs is not known before it stands."""
    for name in ("SECOND_SECONDS", "SAMPLE_SECONDS", "LATER_SECONDS"):
        monkeypatch.setattr(sampling, name, 0.0)
    free = iter([100 * GIB, 90 * GIB, 80 * GIB, 99 * GIB, 98 * GIB])
    monkeypatch.setattr(sampling, "_room", lambda folder: {"free": next(free), "total": 200 * GIB})
    view = RunView(tmp_path)
    view.checkpoints.append({"step": 5, "bytes": 10 * GIB})
    sampler = Sampler(tmp_path, os.getpid(), None, lambda: [])
    found = []
    for name in ("training", "saving", "saving", "training", "training"):
        view.phase.name = name
        found.append(reading(sampler, view)["disk"])
        if len(found) == 2:
            view.checkpoints.append({"step": 10, "bytes": 20 * GIB})
    assert [disk["free"] // GIB for disk in found] == [100, 100, 100, 99, 98]
    assert [disk["next_checkpoint"] // GIB for disk in found] == [10, 10, 10, 20, 20]


def test_a_reading_that_was_begun_in_a_save_does_not_count_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    for name in ("SECOND_SECONDS", "LATER_SECONDS"):
        monkeypatch.setattr(sampling, name, 0.0)
    monkeypatch.setattr(sampling, "_room", lambda folder: {"free": 1 if go.wait(5) and asked else 2, "total": 9})
    asked: list[int] = []
    view, sampler = RunView(tmp_path), Sampler(tmp_path, os.getpid(), None, lambda: [])
    go.set()
    assert reading(sampler, view)["disk"]["free"] == 2
    go.clear()
    asked.append(1)
    view.phase.name = "saving"
    while sampler._asked is None:
        assert sampler.look(view) is None
        time.sleep(0.01)
    view.phase.name = "training"
    go.set()
    assert reading(sampler, view)["disk"]["free"] == 2


@pytest.mark.parametrize("value", ["NaN", float("nan"), float("inf"), -1, True, None, "5", 2**64 - 1, 10**400])
def test_what_is_no_size_is_not_known(value: Any, tmp_path: Path) -> None:
    assert sensible(value) is None
    view = RunView(tmp_path)
    view.checkpoints += [{"bytes": 12345}, {"bytes": 0}, {"bytes": 1}, {"bytes": value}]
    assert sampling.next_checkpoint(view) == 12345
    shared = own_share(card(0, memory_by_pid={1: value, 2: 7 * GIB}), {1, 2})
    assert shared["memory_own"] == 7 * GIB and shared["holds"]


def test_a_driver_that_hangs_holds_nothing_up_and_is_asked_again_only_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(sampling, "SECOND_SECONDS", 0.1)
    monkeypatch.setattr(sampling, "SAMPLE_SECONDS", 0.1)
    back, asked = threading.Event(), []

    def hang() -> list[dict[str, Any]]:
        asked.append(1)
        back.wait(20)
        return [card(0)]

    sampler, view, slowest = Sampler(tmp_path, os.getpid(), None, hang), RunView(tmp_path), 0.0
    events = []
    while len(events) < 3:
        began = time.perf_counter()
        event = sampler.look(view)
        slowest = max(slowest, time.perf_counter() - began)
        events += [event] if event is not None else []
        time.sleep(0.02)
    assert slowest < 0.2, "the guard waits for nobody"
    assert all(e["driver"] == "silent" and e["gpus"] == [] and e["host"]["memory_total"] for e in events)
    assert len(asked) == 1
    back.set()
    time.sleep(0.05)
    later = [reading(sampler, view) for _ in range(2)]
    assert later[-1]["gpus"][0]["index"] == 0 and "driver" not in later[-1]


def test_a_driver_that_fails_is_no_card(tmp_path: Path) -> None:
    def fail() -> list[dict[str, Any]]:
        raise RuntimeError("no")

    assert reading(Sampler(tmp_path, os.getpid(), None, fail), RunView(tmp_path))["gpus"] == []


@pytest.mark.skipif(bool(gpus()), reason="for machines without a driver")
def test_without_a_driver_there_are_no_cards_and_it_is_not_asked_again_at_once() -> None:
    reader = CardReader()
    assert reader.read() == []
    began = time.perf_counter()
    assert reader.read() == [] and time.perf_counter() - began < 0.01


def test_readings_are_rare_and_cheap(tmp_path: Path) -> None:
    sampler, view = Sampler(tmp_path, os.getpid(), None, lambda: []), RunView(tmp_path)
    reading(sampler, view)
    began, mine = time.monotonic(), time.thread_time()
    while time.monotonic() - began < 0.5:
        assert sampler.look(view) is None
        time.sleep(0.02)
    assert time.thread_time() - mine < 0.05
    assert sampling.SECOND_SECONDS >= 2 and sampling.SAMPLE_SECONDS >= 2


def test_a_family_counts_children_and_their_work() -> None:
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'x = 0\\nwhile 1: x += 1']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        try:
            family = Family(parent.pid)
            assert machine_usage(family)["run_cpu"] is None
            time.sleep(0.3)
            usage = family.usage()
            assert usage["pids"] == {parent.pid, child}
            assert usage["run_cpu"] > 5
        finally:
            os.kill(child, 9)


def card(index: int, **fields: Any) -> dict[str, Any]:
    return {"index": index, "name": "NVIDIA H100 80GB HBM3", "uuid": f"GPU-{index}aaa", "utilization": 94, "power_limit": 700,
            "memory_used": 23 * GIB + index, "memory_total": 80 * GIB, "temperature": 64, "power": 412.3,
            "memory_by_pid": {100 + index: 22 * GIB}, **fields}  # fmt: skip


def test_cards_of_the_run_are_those_where_it_computes_or_that_it_was_given() -> None:
    cards = [own_share(card(i), {101}) for i in range(3)]
    assert own_cards(cards, "0") == {1} and cards[1]["memory_own"] == 22 * GIB and cards[0]["memory_own"] is None
    idle = [own_share(card(i), set()) for i in range(3)]
    assert own_cards(idle, "0,2") == {0, 2} and own_cards(idle, "GPU-1aa") == {1}
    assert own_cards(idle, None) == {0, 1, 2} and own_cards(idle, "") == set()


# -- the pane -----------------------------------------------------------------------------------------------------------


def event(cards: int, mine: tuple[int, ...] = (0,), **more: Any) -> dict[str, Any]:
    found = [{**card(i), "own": i in mine, "memory_own": 22 * GIB if i in mine else None} for i in range(cards)]
    return {"type": "hardware", "time": time.time(), "gpus": found,
            "host": {"cpu": 45.2, "cores": 16, "memory_used": 22 * GIB, "memory_total": 126 * GIB, "run_cpu": 318.0,
                     "run_memory": 6 * GIB},
            "disk": {"free": 212 * GIB, "total": 500 * GIB, "next_checkpoint": 1.2 * GIB}, **more}  # fmt: skip


def facts(machine: Machine, **fields: Any) -> Facts:
    memory = {"gpu_memory_allocated": 12.3 * GIB, "gpu_memory_peak": 17.2 * GIB, "gpu_memory_reserved": 20.0 * GIB}
    return Facts(Path("x"), state=RunState(states.RUNNING), machine=machine, values=dict(memory), **fields)


def shown(found: Facts, width: int, height: int = 30) -> list[str]:
    return ["".join(text for text, _ in line) for line in hardware.lines(found, time.time(), width, height)]


def test_one_card_tells_all_parts_of_its_memory_apart_by_characters_and_numbers() -> None:
    history = [event(1) for _ in range(30)]
    text = "\n".join(shown(facts(read(history[-1], history)), 100))
    for part in ("GPU 0", "NVIDIA H100", "this run", "allocated 12.3", "peak 17.2", "reserved 20.0", "used 23.0",
                 "23.0 / 80 GiB", "94%", "64 °C", "412 / 700 W", "45% of 16 cores", "this run 3.2 cores", "22.0 / 126 GiB",
                 "212 GiB free", "next checkpoint 1.2 GiB", "room for 176"):  # fmt: skip
        assert part in text, f"{part}\n{text}"
    bar = next(line for line in text.splitlines() if line.startswith("memory") and "80 GiB" in line)
    signs = "".join(dict.fromkeys(bar.partition("memory")[2].strip()))
    assert signs.startswith("█▓┃▒·")


@pytest.mark.parametrize("width", [40, 44, 60, 80, 110, 200])
@pytest.mark.parametrize("height", [8, 12, 16, 40])
@pytest.mark.parametrize("cards", [0, 1, 2, 8])
def test_it_fits_any_size(width: int, height: int, cards: int) -> None:
    history = [event(cards, (0, 1)) for _ in range(40)]
    for machine in (read(history[-1], history), read({**history[-1], "time": 5.0}, history)):
        lines = shown(facts(machine), width, height)
        assert len(lines) <= height and all(cell_len(line) <= width for line in lines), lines
        assert "GiB" in "\n".join(lines)
        if cards == 8 and height >= 12:
            assert sum("80 GiB" in line for line in lines) == 8, lines
        if height >= 12:
            assert any(line.startswith("disk") for line in lines) or cards == 8


def test_what_is_missing_is_said() -> None:
    assert "no reading yet" in "\n".join(shown(facts(Machine()), 80))
    assert "no GPU" in "\n".join(shown(facts(read(event(0))), 80))
    assert "does not answer" in "\n".join(shown(facts(read(event(0, driver="silent"))), 80))
    assert "old" not in "\n".join(shown(facts(read(event(1, time=time.time() - 12))), 80))
    assert "this reading is old: 25s ago" in "\n".join(shown(facts(read(event(1, time=time.time() - 25.5))), 80))
    ended = replace(facts(read(event(1, time=time.time() - 7200))), state=RunState(states.COMPLETED))
    assert "the last reading, 2h ago" in "\n".join(shown(ended, 80))


def test_a_short_disk_is_said_with_a_sign() -> None:
    machine = read(event(1, disk={"free": GIB // 2, "total": GIB, "next_checkpoint": GIB}))
    assert "! 512 MiB free   next checkpoint 1.0 GiB   it does not fit" in "\n".join(shown(facts(machine), 80))


def test_ascii_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hardware, bars, values, times):
        monkeypatch.setattr(module, "glyphs", lambda: ASCII)
    history = [event(8, (0, 1)) for _ in range(40)]
    for count in (1, 8):
        text = "\n".join(shown(facts(read(event(count), history)), 160))
        assert text.isascii(), text


@pytest.mark.parametrize("wrong", [{"gpus": 7}, {"gpus": [7, {"index": "x", "name": 5, "utilization": "a", "memory_used": {}}]},
                                   {"host": [], "disk": "x"}, {"gpus": [{"index": True, "memory_total": 0}]},
                                   {"host": {"cpu": "NaN", "cores": -1}, "time": "x"},
                                   {"gpus": [{"index": 0, "name": "\x1b[31mred\x07", "memory_used": 1, "memory_total": 2}]}])  # fmt: skip
def test_strange_readings_do_no_harm(wrong: dict[str, Any]) -> None:
    machine = read({"type": "hardware", "time": 1.0, **wrong}, [wrong])
    for width in (24, 40, 120):
        assert all(line.isprintable() for line in shown(facts(machine), width))
        assert values.values(facts(machine), None, width, 30)


def test_the_column_of_values_has_the_short_form() -> None:
    machine = read(event(2, (0,), disk={"free": GIB // 2, "total": GIB, "next_checkpoint": GIB}))
    found = facts(machine, signs=(Sign("disk", "error", "x"),))
    lines = ["".join(text for text, _ in line) for line in values.values(found, None, 24, 40)]
    text = "\n".join(lines)
    assert all(len(line) <= 24 for line in lines)
    assert "GPU 0    94% 64 °C 412 W" in text and "GPU 1" not in text
    assert "23.0 / 80 GiB" in text and "! disk free      512 MiB" in text


def test_a_spark_is_as_long_as_it_may_be_and_shows_gaps() -> None:
    assert bars.spark([0, 50, 100, None, 100], 10) == "▁▄█ █"
    assert len(bars.spark(list(range(61)), 20)) == 20

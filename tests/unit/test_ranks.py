"""Several processes for one run: what the settings ask for, whose turn it is, and how the end of one ends all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import process, ranks
from engine.config import RunConfig, parse
from engine.hardware import Gpu
from engine.preflight import plan
from engine.queue import order, slots
from engine.queue.entries import Entry
from engine.rundir import RunDir
from tests.support import ended, launch_fake, wait_for

GIB = 2**30
CARDS = [Gpu(index, f"H{index}", 0, 80 * GIB, uuid=f"GPU-{index}{index}-aa") for index in range(4)]
NAMES = [slots.slot_name(card) for card in CARDS]
# What a stand-in worker of several does: each says its last word as the real ones do.
WORD = """
import json, os
rank = int(os.environ["RANK"])
def word(reason, missed):
    text = json.dumps({"attempt": int(os.environ["TUNEDECK_ATTEMPT"]), "state": "failed", "reason": reason, "missed_another": missed})
    open(os.path.join(sys.argv[-1], ".tunedeck", f"rank-{rank}.json"), "w").write(text)
    if rank == 0:
        events.write("state", state="failed", reason=reason)
"""


def config(**values: Any) -> RunConfig:
    return parse({"train_path": "x.jsonl", "output_dir": "out", **values})


def kinds(found: RunConfig, cards: list[Gpu]) -> list[tuple[str, str | None, str]]:
    return [(one.kind, one.setting, one.severity) for one in ranks.check(found, cards)]


@pytest.mark.parametrize(
    ("values", "processes"),
    [
        ({}, 1),
        ({"gpus": "2"}, 1),
        ({"gpus": "0,3"}, 2),
        ({"num_gpus": 1}, 1),
        ({"num_gpus": 4}, 4),
        ({"num_gpus": ""}, 1),
    ],
)
def test_how_many(values: dict[str, Any], processes: int) -> None:
    assert ranks.count(config(**values)) == processes


def test_the_plan_counts_samples_as_people_do() -> None:
    one = plan(config(), 400)
    four = plan(config(num_gpus=4), 400)
    kept = plan(config(gpus="0,1,2,3", keep_samples_per_update=True), 400)
    assert (one.samples_per_update, one.total_steps) == (4, 300)
    assert (four.samples_per_update, four.total_steps) == (16, 75)
    assert kept == one
    assert plan(config(num_gpus=2), 401).steps_per_epoch == 51


def test_what_speaks_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert kinds(config(num_gpus=4), CARDS) == kinds(config(gpus="0,1"), CARDS) == kinds(config(), []) == []
    assert kinds(config(num_gpus=5), CARDS) == [("no-such-gpu", "num_gpus", "error")]
    assert kinds(config(num_gpus=2, gpus="0,1,2"), CARDS) == [("contradiction", "num_gpus", "error")]
    assert kinds(config(num_gpus=2, cuda_graphs=True), CARDS) == [("one-gpu", "cuda_graphs", "error")]
    assert kinds(config(num_gpus=2), []) == [("no-gpu", "num_gpus", "warning")]
    three = ranks.check(config(num_gpus=3, keep_samples_per_update=True), CARDS)
    assert [one.kind for one in three] == ["does-not-divide"] and "(4) by 3" in three[0].message
    assert kinds(config(num_gpus=2, fsdp=True), CARDS) == []
    assert kinds(config(fsdp=True), CARDS) == [("cannot-share", "fsdp", "error")]
    assert kinds(config(num_gpus=2, fsdp=True, load_in_8bit=True), CARDS) == [("cannot-share", "fsdp", "error")]
    assert kinds(config(num_gpus=2, fsdp=True, bias="all"), CARDS) == [("cannot-share", "fsdp", "error")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,2")
    assert kinds(config(num_gpus=3), CARDS) == [("no-such-gpu", "num_gpus", "error")]
    assert kinds(config(num_gpus=2), CARDS) == []


def test_a_run_waits_until_as_many_cards_are_free_as_it_needs() -> None:
    wish = slots.wish("auto", CARDS, None, 2)
    assert (wish.kind, wish.slots, wish.count) == (order.SOME, tuple(NAMES), 2)
    assert slots.wish("auto", CARDS, None).kind == slots.wish("auto", CARDS, "1,2", 1).kind == order.ONE
    assert slots.wish("auto", CARDS, "1,2", 2).slots == (NAMES[1], NAMES[2])
    pair = Entry("pair", "/nowhere", 1.0, kind=order.SOME, slots=tuple(NAMES), count=2)
    single = Entry("single", "/nowhere", 2.0, kind=order.ONE, slots=tuple(NAMES))
    assert order.allocate([pair, single], NAMES[:3], []) == {"pair": tuple(NAMES[:2]), "single": (NAMES[2],)}
    # It keeps the one that is free: a stream of small runs would hold it up for ever.
    assert order.allocate([pair, single], NAMES[:1], []) == {}
    assert order.turn("pair", [pair, single], NAMES[2:], []) == tuple(NAMES[2:])


def both_gone(run: RunDir) -> bool:
    told = (run.read_status() or {})["ranks"]
    assert [one["rank"] for one in told] == [0, 1]
    return not any(process.started(one["pid"]) for one in told)


def test_both_do_all_and_the_run_is_complete(tmp_path: Path) -> None:
    body = 'import os\nif os.environ["RANK"] == "0":\n    step(1, 1)\n    time.sleep(0.5)\n'
    run = launch_fake(tmp_path, body + '    events.write("state", state="completed", reason="all done")', num_gpus=2)
    status = ended(run)
    assert (status["state"], status["reason"]) == ("completed", "all done") and both_gone(run)


def test_a_killed_one_ends_the_run_in_seconds_by_its_own_signal(tmp_path: Path) -> None:
    """The first one is left waiting: it is ended, and the reason is the other's."""
    body = "import os, signal\nif os.environ['RANK'] == '1':\n    time.sleep(0.3)\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    run = launch_fake(tmp_path, body + "step(1, 10)\ntime.sleep(60)", num_gpus=2)
    begun = time.monotonic()
    status = ended(run, 10)
    assert time.monotonic() - begun < 8
    assert (status["state"], status["reason"], status["signal"]) == ("killed", "killed by SIGSEGV (rank 1)", "SIGSEGV")
    assert both_gone(run)


def test_who_only_missed_another_is_not_the_reason(tmp_path: Path) -> None:
    body = WORD + (
        "if rank == 0:\n    step(1, 10)\n    word('connection closed by peer', True)\n    sys.exit(1)\n"
        "time.sleep(0.5)\nword('out of GPU memory at step 2', False)\nsys.exit(1)\n"
    )
    status = ended(launch_fake(tmp_path, body, num_gpus=2))
    assert (status["state"], status["reason"]) == ("failed", "out of GPU memory at step 2 (rank 1)")


def test_what_all_found_is_told_by_the_first(tmp_path: Path) -> None:
    body = WORD + "if rank == 0:\n    step(1, 10)\n    time.sleep(0.5)\nword(f'told by {rank}', False)\nsys.exit(1)\n"
    status = ended(launch_fake(tmp_path, body, num_gpus=2))
    assert (status["state"], status["reason"]) == ("failed", "told by 0")


def test_stop_now_ends_all(tmp_path: Path) -> None:
    run = launch_fake(tmp_path, "step(1, 10)\ntime.sleep(60)", num_gpus=2)
    wait_for(lambda: (run.read_status() or {}).get("state") == "running")
    run.request("stop-now")
    status = ended(run)
    assert (status["state"], status["reason"]) == ("stopped", "stopped at once on request") and both_gone(run)

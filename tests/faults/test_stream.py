"""The event stream, cut at every byte and with a bit flipped at every byte: nothing undamaged lost, all damage counted."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from engine import status as states
from engine.events import EventReader, encode
from engine.snapshot import RunFollower
from tests.support import make_run

# Both the positions and the reading of each grow with it. Every kind of record is among the first forty.
RECORDS = 200 if os.environ.get("TUNEDECK_FULL") else 40


def stream(count: int) -> tuple[bytes, list[dict[str, Any]]]:
    """A stream of ``count`` records as workers write them, and the records as a reader gives them."""
    lines = []
    for step in range(1, count + 1):
        event: dict[str, Any] = {"type": "step", "time": 1_790_000_000 + step / 8, "attempt": 1, "step": step,
                                 "loss": 1 / step, "grad_norm": "NaN" if step % 50 == 7 else step / 3}  # fmt: skip
        if step % 20 == 11:
            event["text"] = 'a "crc" of 한국어, {"type":'
        lines.append(encode(event))
    data = b"".join(lines)
    import json

    return data, [json.loads(line) for line in lines]


def read(folder: Path, data: bytes, limit: int = 1 << 20) -> tuple[list[dict[str, Any]], int]:
    """What a reader makes of a stream, and how many damages it counts once nobody writes any more."""
    path = folder / "e.jsonl"
    path.write_bytes(data)
    reader, events = EventReader(path), []
    while not reader.at_end:
        events += reader.poll(limit)
    return events, reader.damaged + reader.torn


def check_cut(folder: Path, data: bytes, records: list[dict[str, Any]], cut: int) -> None:
    """Cut behind ``cut`` bytes: all records whose text is whole are read, a torn one is counted, none is invented."""
    events, damage = read(folder, data[:cut])
    whole, rest = data[:cut].count(b"\n"), data[:cut].rpartition(b"\n")[2]
    last = data.split(b"\n")[whole]
    complete = whole + (rest == last and bool(rest))
    assert events == records[:complete], cut
    assert damage == (1 if rest and rest != last else 0), cut


def check_flip(
    folder: Path, data: bytes, records: list[dict[str, Any]], position: int, bit: int, limit: int = 1 << 20
) -> int:
    """Flip one bit: every other record is read with its values, and the damage is counted. Returns the records lost."""
    damaged = bytearray(data)
    damaged[position] ^= 1 << bit
    events, damage = read(folder, bytes(damaged), limit)
    hit = data[:position].count(b"\n")
    others = [record for number, record in enumerate(records) if number != hit]
    at_newline = data[position : position + 1] == b"\n"
    assert events == (records if at_newline else others), (position, bit)
    assert damage >= 1, (position, bit)
    return len(records) - len(events)


@pytest.mark.faults
def test_cut_at_every_byte(tmp_path: Path) -> None:
    data, records = stream(RECORDS)
    for cut in range(len(data) + 1):
        check_cut(tmp_path, data, records, cut)


@pytest.mark.faults
@pytest.mark.parametrize("bit", range(8) if os.environ.get("TUNEDECK_FULL") else [None])
def test_a_bit_flipped_at_every_byte(tmp_path: Path, bit: int | None) -> None:
    """One random bit of each byte; with TUNEDECK_FULL=1 in the environment all eight."""
    data, records = stream(RECORDS)
    choose = random.Random(3)
    for position in range(len(data)):
        check_flip(tmp_path, data, records, position, choose.randrange(8) if bit is None else bit)


@pytest.mark.faults
def test_every_damage_is_counted_where_people_see_it(tmp_path: Path) -> None:
    """The same through a run's follower: flips and cuts anywhere, the run having ended."""
    run = make_run(tmp_path / "run", steps=RECORDS, evals=0)
    whole = run.events.read_bytes()
    good = RunFollower(run.path).read_all()
    losses = dict(zip(good.steps.steps, good.steps.column("loss"), strict=True))
    choose = random.Random(5)
    for _ in range(len(whole) // 24):
        position, data = choose.randrange(len(whole)), bytearray(whole)
        cut = choose.random() < 0.3
        if cut:
            del data[position:]
        else:
            data[position] ^= 1 << choose.randrange(8)
        run.events.write_bytes(bytes(data))
        view = RunFollower(run.path).read_all()
        assert view.state.state == states.COMPLETED
        torn = bytes(data).rpartition(b"\n")[2]
        if not cut or (torn and torn not in whole.split(b"\n")):
            assert view.damaged >= 1, position
        assert all(losses[step] == loss for step, loss in zip(view.steps.steps, view.steps.column("loss"), strict=True))
        assert cut or len(view.steps) >= RECORDS - 1

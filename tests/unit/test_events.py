"""The event stream: strict, checksummed, tolerant of every damage."""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path

import pytest

from engine.events import EventReader, EventWriter, decode, encode, number


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_a_line_is_strict_json_with_a_checksum_of_what_stands_before_it(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "e.jsonl", attempt=3)
    assert writer.write("step", step=1, loss=math.nan, grad_norm=math.inf, text='한\n"crc"', nested=[-math.inf])
    (line,) = lines_of(tmp_path / "e.jsonl")
    event = json.loads(line, parse_constant=pytest.fail)
    assert next(iter(event)) == "type" and list(event)[-1] == "crc" and event["attempt"] == 3
    assert (event["loss"], event["grad_norm"], event["nested"]) == ("NaN", "Infinity", ["-Infinity"])
    head = line[: line.rindex(b',"crc"')]
    assert event["crc"] == f"{zlib.crc32(head):08x}"
    assert decode(line) == event


def test_number_knows_numbers_names_and_nothing_else() -> None:
    assert number(3) == 3.0 and math.isnan(number("NaN") or 0) and number("-Infinity") == -math.inf
    assert number(True) is None and number("3") is None and number(None) is None and number([]) is None


def test_a_torn_last_line_is_not_yet(tmp_path: Path) -> None:
    path, line = tmp_path / "e.jsonl", encode({"type": "step", "step": 1})
    reader = EventReader(path)
    assert reader.poll() == []
    path.write_bytes(line[:10])
    assert reader.poll() == [] and reader.damaged == 0
    with path.open("ab") as file:
        file.write(line[10:])
    assert [e["step"] for e in reader.poll()] == [1] and reader.damaged == 0


def test_truncated_at_every_byte(tmp_path: Path) -> None:
    data = b"".join(encode({"type": "step", "step": i, "loss": 1 / i}) for i in range(1, 21))
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    path = tmp_path / "e.jsonl"
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        reader = EventReader(path)
        whole = sum(end <= cut for end in ends)
        assert [e["step"] for e in reader.poll()] == list(range(1, whole + 1)) and reader.damaged == 0


def test_a_flipped_bit_at_every_byte_loses_at_most_two_records_and_shows_no_wrong_value(tmp_path: Path) -> None:
    good = {i: 1 / i for i in range(1, 13)}
    data = b"".join(encode({"type": "step", "step": i, "loss": loss}) for i, loss in good.items())
    path = tmp_path / "e.jsonl"
    for position in range(len(data) - 1):
        for bit in (0, 5):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            path.write_bytes(bytes(damaged))
            reader = EventReader(path)
            events = reader.poll()
            lost = len(good) - len(events)
            assert lost <= 2, (position, bit)
            assert (reader.damaged > 0) == (lost > 0), (position, bit)
            for event in events:
                assert "step" not in event or "loss" not in event or good[event["step"]] == event["loss"], (
                    position,
                    bit,
                )


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(encode({"type": "a"}) * 3)
    reader = EventReader(path)
    assert len(reader.poll()) == 3
    other = tmp_path / "other"
    other.write_bytes(encode({"type": "b"}))
    os.replace(other, path)
    assert [e["type"] for e in reader.poll()] == ["b"] and reader.restarts == 1


def test_foreign_lines_without_checksum_are_accepted_and_garbage_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"type":"step","step":1}\n[1]\n{"step":2}\n\xff\xfe\n\n' + b"[" * 100_000 + b'\n{"type":"x"}\n')
    reader = EventReader(path)
    assert [e["type"] for e in reader.poll()] == ["step", "x"] and reader.damaged == 4


def test_a_disk_that_refuses_marks_the_gap_and_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "e.jsonl"
    writer = EventWriter(path)
    assert writer.write("step", step=1)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        real(fd, data[:7])  # half a line reaches the disk before it is full
        return 7

    monkeypatch.setattr(os, "write", full)
    assert not writer.write("step", step=2) and not writer.write("step", step=3) and writer.lost == 2
    monkeypatch.setattr(os, "write", real)
    assert writer.write("step", step=4) and writer.lost == 0
    reader = EventReader(path)
    events = reader.poll()
    assert [e.get("step") for e in events] == [1, None, 4]
    assert events[1]["type"] == "notice" and events[1]["lost"] == 2


def test_appending_after_a_torn_line_starts_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(encode({"type": "step", "step": 1}) + b'{"type":"st')
    EventWriter(path).write("step", step=2)
    reader = EventReader(path)
    assert [e["step"] for e in reader.poll()] == [1, 2] and reader.damaged == 1


def test_bounded_reads_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b"".join(encode({"type": "step", "step": i}) for i in range(500)))
    reader, steps = EventReader(path), []
    while not reader.at_end:
        steps += [e["step"] for e in reader.poll(limit_bytes=100)]
    assert steps == list(range(500))

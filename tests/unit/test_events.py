"""The event stream: strict, checksummed, tolerant of every damage."""

from __future__ import annotations

import json
import math
import os
import stat
import time
import zlib
from pathlib import Path

import pytest

from engine.events import EventReader, EventWriter, decode, encode, last_events, number
from tests.faults.test_stream import check_cut, check_flip, stream


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


def test_a_whole_last_line_is_given_out_before_its_newline_and_only_once(tmp_path: Path) -> None:
    path, line = tmp_path / "e.jsonl", encode({"type": "step", "step": 1})
    path.write_bytes(line[:-1])
    reader = EventReader(path)
    assert [e["step"] for e in reader.poll()] == [1] and not reader.torn
    with path.open("ab") as file:
        file.write(b"\n" + encode({"type": "step", "step": 2})[:-1])
    assert [e["step"] for e in reader.poll()] == [2] and reader.poll() == []
    with path.open("ab") as file:
        file.write(b"\n")
    assert reader.poll() == [] and reader.damaged == 0 and not reader.torn


def test_without_a_checksum_a_last_line_is_whole_only_with_its_newline(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b'{"type":"step","step":1}')
    reader = EventReader(path)
    assert reader.poll() == [] and reader.torn
    with path.open("ab") as file:
        file.write(b"\n")
    assert [e["step"] for e in reader.poll()] == [1] and not reader.torn and reader.damaged == 0


def test_a_flipped_last_newline_is_damage_at_the_end(tmp_path: Path) -> None:
    path, line = tmp_path / "e.jsonl", encode({"type": "step", "step": 1})
    path.write_bytes(line[:-1] + b"\x0b")
    reader = EventReader(path)
    assert [e["step"] for e in reader.poll()] == [1] and reader.torn and reader.damaged == 0
    with path.open("ab") as file:  # as the next attempt's writer does: it sees no newline at the end
        file.write(b"\n" + encode({"type": "step", "step": 2}))
    assert [e["step"] for e in reader.poll()] == [2] and reader.damaged == 1 and not reader.torn


@pytest.mark.parametrize("step", range(0, 8))
def test_a_damaged_newline_costs_neither_half(tmp_path: Path, step: int) -> None:
    path = tmp_path / "e.jsonl"
    data = bytearray(b"".join(encode({"type": "step", "step": i}) for i in range(5)))
    ends = [i for i, byte in enumerate(data) if byte == 10]
    data[ends[2]] ^= 1 << step
    path.write_bytes(bytes(data))
    for limit in (1 << 20, 100, 7):
        reader, steps = EventReader(path), []
        while not reader.at_end:
            steps += [e["step"] for e in reader.poll(limit)]
        assert steps == [0, 1, 2, 3, 4] and reader.damaged == 1, limit


def test_a_checksum_is_compared_byte_for_byte() -> None:
    line = encode({"type": "step", "step": 1, "loss": 0.5})[:-1]
    assert decode(line) is not None
    head, digits = line[:-10], line[-10:-2]
    for other in (digits.upper(), b"+" + digits[1:], b"0_" + digits[2:], b" " + digits[1:]):
        assert other == digits or decode(head + other + b'"}') is None
    for wrong in (b',"crb":"', b',"Crc":"', b',"crc";"', b'."crc":"', b',"crc":#'):
        assert decode(line.replace(b',"crc":"', wrong)) is None


def test_damage_everywhere(tmp_path: Path) -> None:
    """A sample of what tests/faults/test_stream.py does to every byte of a long stream."""
    data, records = stream(12)
    for cut in range(len(data) + 1):
        check_cut(tmp_path, data, records, cut)
    for position in range(len(data)):
        check_flip(tmp_path, data, records, position, (position * 7) % 8)


def test_a_record_inside_a_damaged_one_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    line = encode({"type": "eval", "inner": {"type": "step", "step": 7}, "step": 3})
    path.write_bytes(line.replace(b'"step":3', b'"step":2') + b'{"type":"x" "y":{"type":"step","step":9}}\n')
    reader = EventReader(path)
    assert reader.poll() == [] and reader.damaged == 2


def test_a_hostile_line_costs_no_time(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    bomb = b'{"type":' * 400_000 + b',"crc":"00000000"}' * 1000
    path.write_bytes(bomb + b"\n" + b"\0" * 4096 + encode({"type": "x"}) + b'{"type":"y","n":' + b"9" * 400 + b"}\n")
    begun = time.monotonic()
    reader = EventReader(path)
    assert [e["type"] for e in reader.poll()] in (["x"], ["x", "y"])
    assert reader.damaged >= 2 and time.monotonic() - begun < 5


def test_no_value_is_beyond_what_every_reader_can_hold(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "e.jsonl")
    assert writer.write("step", step=1, a=10**400, b=-(10**400), c=2**70, text="\ud800 \0", d={1: 10**30})
    (event,) = EventReader(tmp_path / "e.jsonl").poll()
    assert (event["a"], event["b"], event["c"], event["d"]) == ("Infinity", "-Infinity", 2.0**70, {"1": 1e30})
    assert number(10**400) is None


@pytest.mark.parametrize("mode", [0o600, 0o640])
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377])
def test_the_mode_is_what_was_asked_for(tmp_path: Path, mode: int, umask: int) -> None:
    path = tmp_path / "e.jsonl"
    before = os.umask(umask)
    try:
        EventWriter(path, mode=mode).write("step", step=1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o644)  # a run that was shared, or was copied
    EventWriter(path, mode=mode).write("step", step=2)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_pipe_in_place_of_the_stream_holds_nobody(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    os.mkfifo(path)
    writer, reader = EventWriter(path), EventReader(path)
    assert not writer.write("step", step=1) and writer.lost == 1
    assert reader.poll() == [] and last_events(path) == []


def test_the_newest_events_are_read_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    data, _ = stream(2000)
    path.write_bytes(data)
    found = [e["step"] for e in last_events(path, 4096)]
    assert found[-1] == 2000 and found == list(range(found[0], 2001)) and len(found) > 10
    path.write_bytes(data[:-1])
    assert last_events(path, 4096)[-1]["step"] == 2000
    path.write_bytes(data[:-5])
    assert last_events(path, 4096)[-1]["step"] == 1999
    assert last_events(tmp_path / "none") == []


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

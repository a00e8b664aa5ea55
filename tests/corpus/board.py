"""TensorBoard event files, written without TensorBoard."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import QWEN, adapter, falling, put_adapter, put_checkpoint, state, told, train_rows, write

_FIRST = 1_750_000_000.0


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    found = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        found.append(low | (0x80 if value else 0))
        if not value:
            return bytes(found)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _event(step: int, time: float, content: bytes) -> bytes:
    body = b"\x09" + struct.pack("<d", time) + (b"\x10" + _varint(step) if step else b"") + content
    size = struct.pack("<Q", len(body))
    return size + struct.pack("<I", _masked_crc(size)) + body + struct.pack("<I", _masked_crc(body))


def scalar(tag: str, step: int, value: float, time: float = _FIRST) -> bytes:
    """An event with one number, as torch's writer makes it."""
    summary = _field(1, _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value))
    return _event(step, time, _field(5, summary))


def tensor_scalar(tag: str, step: int, value: float, time: float = _FIRST) -> bytes:
    """The same as TensorFlow 2 makes it: a tensor of no dimensions."""
    tensor = b"\x08\x01" + _field(2, b"") + _field(4, struct.pack("<f", value))
    summary = _field(1, _field(1, tag.encode()) + _field(8, tensor) + _field(9, _field(1, _field(1, b"scalars"))))
    return _event(step, time, _field(5, summary))


def text(tag: str, words: str, time: float = _FIRST) -> bytes:
    """An event with text; the trainer writes its arguments so."""
    tensor = b"\x08\x07" + _field(2, _field(2, b"\x08\x01")) + _field(8, words.encode())
    summary = _field(
        1, _field(1, f"{tag}/text_summary".encode()) + _field(8, tensor) + _field(9, _field(1, _field(1, b"text")))
    )
    return _event(0, time, _field(5, summary))


def head() -> bytes:
    """The first event of every file."""
    return _event(0, _FIRST, _field(3, b"brain.Event:2"))


def events(
    losses: list[float], evals: dict[int, float] | None = None, every: int = 10, arguments: dict[str, Any] | None = None
) -> bytes:
    """What the trainer's callback writes."""
    found = [head()]
    if arguments is not None:
        found.append(text("args", json.dumps(arguments, indent=2)))
    for i, loss in enumerate(losses, 1):
        step, time = i * every, _FIRST + 30 * i
        found += [scalar("train/loss", step, loss, time), scalar("train/grad_norm", step, 0.5, time),
                  scalar("train/learning_rate", step, 1e-4 * (1 - i / (len(losses) + 1)), time), scalar("train/epoch", step, i / len(losses), time)]  # fmt: skip
        if evals and step in evals:
            found.append(scalar("eval/loss", step, evals[step], time))
    return b"".join(found)


class Single(float):
    """A number that went through four bytes: equal to about seven digits."""


def put_events(folder: Path, content: bytes, name: str = "events.out.tfevents.1750000000.host.4711.0") -> None:
    """An event file, where the trainer puts it."""
    write(folder / "runs" / "Jun15_15-06-40_host" / name, content)


@layout
def tensorboard_only(here: Path) -> dict[str, Any]:
    """An adapter and event files: the curves are there alone."""
    losses, evals = falling(12), {60: 1.5, 120: 1.25}
    put_adapter(here, adapter(QWEN))
    put_events(here, events(losses, evals))
    expected = told(
        [Single(x) for x in losses],
        [Single(x) for x in evals.values()],
        base_model=QWEN,
        step=120,
        state="unknown",
        curves=["loss", "learning_rate"],
    )
    return expected | {"problem": None}


@layout
def tensorboard_beside_state(here: Path) -> dict[str, Any]:
    """The same rows in both are counted once, with the state's exact numbers."""
    losses = falling(10)
    put_checkpoint(here, 100, state(train_rows(losses), 100, 100), adapter(QWEN))
    put_events(here, events(losses))
    return told(losses, tool="transformers", state="completed", step=100, total_steps=100, checkpoints=[100])


@layout
def tensorboard_ahead_of_state(here: Path) -> dict[str, Any]:
    """Killed after the last save: the events know more."""
    losses = falling(14)
    put_checkpoint(here, 100, state(train_rows(losses[:10]), 100, 300, epoch=1.0), adapter(QWEN))
    put_events(here, events(losses))
    return {"tool": "transformers", "state": "unknown", "step": 140, "total_steps": 300, "points": 14, "base_model": QWEN,
            "last_loss": Single(losses[-1])}  # fmt: skip


@layout
def tensorboard_torn(here: Path) -> dict[str, Any]:
    """Cut within an event: what stands before it is read."""
    losses = falling(8)
    put_adapter(here)
    put_events(here, events(losses) + scalar("train/loss", 90, 0.5)[:-7])
    return told([Single(x) for x in losses], step=80)


@layout
def tensorboard_new_style(here: Path) -> dict[str, Any]:
    """Scalars as tensors."""
    losses = falling(5)
    put_adapter(here)
    put_events(here, head() + b"".join(tensor_scalar("train/loss", 10 * i, x) for i, x in enumerate(losses, 1)))
    return told([Single(x) for x in losses], step=50)


@layout
def tensorboard_nonsense(here: Path) -> list[Case]:
    """Event files that are none: no crash, no curve, no endless loop, no huge allocation."""
    huge = struct.pack("<Q", 1 << 62) + bytes(12)
    kinds = {
        "empty": b"",
        "noise": bytes(range(256)) * 20,
        "huge-length": head() + huge,
        "zeros": bytes(5000),
        "varints": head() + _event(1, 1.0, b"\xff" * 64),
    }
    found = []
    for name, content in kinds.items():
        put_adapter(here / name, adapter(QWEN))
        put_events(here / name, content)
        found.append(
            Case(f"tensorboard-{name}", here / name, {"base_model": QWEN, "last_loss": None, "state": "unknown"})
        )
    return found


@layout
def tensorboard_arguments(here: Path) -> dict[str, Any]:
    """The arguments stand in the events, a token among them."""
    losses = falling(5)
    put_checkpoint(here, 50, state(train_rows(losses), 50, 50), adapter(QWEN))
    put_events(
        here,
        events(
            losses,
            arguments={
                "learning_rate": 0.0003,
                "per_device_train_batch_size": 3,
                "hub_token": "hf_SECRETxSECRETxSECRET",
                "seed": 5,
            },
        ),
    )
    return told(
        losses,
        tool="transformers",
        state="completed",
        step=50,
        hidden="SECRETxSECRET",
        settings={"learning_rate": 0.0003, "seed": 5},
    )

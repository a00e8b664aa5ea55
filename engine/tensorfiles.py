"""Reads the headers of safetensors files as strictly as the library that loads them, and says what is wrong with one.

A file is eight bytes with the length of the header, the header (JSON: dtype, shape and place of each tensor), and the data.
"""

from __future__ import annotations

import os
import stat
import struct
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from engine.text import clean

_MOST_HEADER = 100_000_000
# Bits of one number of each kind, as safetensors 0.8 knows them.
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
        "C64": 64, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip
CUT = "is damaged or cut short"


def open_unseen(path: Path) -> BinaryIO:
    """Open a file to look at it without that counting as a use (``O_NOATIME``, which only its owner may ask for)."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        descriptor = os.open(path, flags)
    return open(descriptor, "rb")


def tensors(path: Path) -> tuple[dict[str, dict[str, Any]] | None, str]:
    """Tensor names to dtype, shape and data_offsets; or ``None``, and why the file cannot be loaded."""
    try:
        with open_unseen(path) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return None, "is no regular file"
            (length,) = struct.unpack("<Q", file.read(8))
            if not 2 <= length <= min(_MOST_HEADER, found.st_size - 8):
                return None, CUT
            header = orjson.loads(file.read(length))
    except (OSError, ValueError, struct.error, RecursionError):
        return None, CUT
    if not isinstance(header, dict):
        return None, CUT
    if not _texts(header.pop("__metadata__", None)):
        return None, "is damaged: what its header says of itself is not text"
    why = next((why for name, entry in header.items() if (why := _wrong(name, entry))), "")
    why = why or _misplaced(header, found.st_size - 8 - length)
    return (None, why) if why else (header, "")


def _texts(metadata: object) -> bool:
    return metadata is None or (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    )


def _wrong(name: str, entry: Any) -> str:
    """What is wrong with what a header says of one tensor; empty if nothing is."""
    shown = clean(name, 100)
    if not isinstance(entry, dict):
        return f"is damaged: its header says nothing of {shown}"
    dtype, shape, places = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in BITS:
        return f"is damaged: {shown} is of a kind that safetensors does not know ({clean(dtype, 30)})"
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        return f"is damaged: the shape of {shown} is none"
    if (
        not isinstance(places, list)
        or len(places) != 2
        or not all(type(place) is int and place >= 0 for place in places)
    ):
        return f"is damaged: the place of {shown} is none"
    wanted, there = prod(shape) * BITS[dtype], (places[1] - places[0]) * 8
    return "" if wanted == there else f"is damaged: {shown} has not the bytes that its shape needs"


def _misplaced(header: dict[str, dict[str, Any]], size: int) -> str:
    """Tensors lie one after the other, without a gap, to the end of the file."""
    end = 0
    for first, last, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        if first != end:
            return (
                f"is damaged: {clean(name, 100)} {'overlaps another tensor' if first < end else 'has a gap before it'}"
            )
        end = last
    return "" if end == size else CUT

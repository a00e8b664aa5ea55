"""The weights of a model directory, told from the headers of its files: which are there, how many numbers, of which kind."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from engine import tensorfiles
from engine.models.reading import is_file, read_index

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
_MOST_SHARDS, _MOST_FILES = 2000, 5000
_NAMES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "I8": "8 bit",
    "U8": "8 bit",
    "F4": "4 bit",
}
_WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}
_BUFFERS = (".rotary_emb.inv_freq", ".attn.masked_bias", ".attention.masked_bias")


@dataclass(slots=True)
class Weights:
    """``kind``: complete, incomplete, none, damaged, pickle, gguf, other. ``there`` of ``needed`` files are there.

    ``counts`` are numbers (parameters) by the dtype of a safetensors header, ``bytes`` those on the disk.
    """

    kind: str = "none"
    needed: int = 0
    there: int = 0
    bytes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)

    @property
    def trouble(self) -> str:
        """Why they cannot be trained on, in words; empty if they can."""
        words = {
            "none": "no weights", "damaged": "weights are damaged or cut short", "pickle": "weights only as pickle",
            "gguf": "GGUF only", "other": f"weights are in another layout ({self.files[0] if self.files else 'unknown'})",
        }  # fmt: skip
        if self.kind == "incomplete":
            return f"weights are incomplete: {self.there} of {self.needed} files"
        return words.get(self.kind, "")


def look(folder: Path) -> Weights:
    """What weights a directory holds. Only headers are read."""
    names = _listing(folder)
    if INDEX in names:
        return _sharded(folder)
    if SINGLE in names:
        return _files(folder, [SINGLE])
    pickled = sorted(n for n in names if n.startswith("pytorch_model") and n.endswith(".bin"))
    others = sorted(n for n in names if n.endswith((".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".ckpt"))
                    and not n.startswith(("training_args", "adapter_", "optimizer", "scheduler", "rng_state")))  # fmt: skip
    gguf = sorted(n for n in names if n.endswith(".gguf"))
    for kind, found in (("pickle", pickled), ("gguf", gguf), ("other", others)):
        if found:
            size = sum(_size(folder / name) or 0 for name in found)
            return Weights(kind, len(found), len(found), size, files=found)
    return Weights()


def whole(folder: Path) -> bool:
    """Whether a model lies there complete: settings, weights and a tokenizer."""
    there = is_file(folder / "config.json") and any(is_file(folder / name) for name in _TOKENIZERS)
    return there and look(folder).kind == "complete"


def _sharded(folder: Path) -> Weights:
    weight_map = (read_index(folder / INDEX) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        return Weights("damaged", files=[INDEX])
    shards = sorted({str(name) for name in weight_map.values()})
    if len(shards) > _MOST_SHARDS or any(not plain(name) for name in shards):
        return Weights("damaged", files=[INDEX])
    return _files(folder, shards)


def _files(folder: Path, names: list[str]) -> Weights:
    found = Weights("complete", needed=len(names), files=names)
    for name in names:
        size = _size(folder / name)
        if size is None:
            continue
        found.there += 1
        found.bytes += size
        counts = header_counts(folder / name)
        if counts is None:
            found.kind = "damaged"
            continue
        for dtype, count in counts.items():
            found.counts[dtype] = found.counts.get(dtype, 0) + count
    if found.there < found.needed:
        found.kind = "incomplete"
    return found


def header_counts(path: Path) -> dict[str, int] | None:
    """Numbers by dtype of a safetensors file, ``None`` if it is damaged or cut short. Buffers of old models do not count."""
    header, _ = tensorfiles.tensors(path)
    if header is None:
        return None
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if not name.endswith(_BUFFERS):
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + prod(tensor["shape"])
    return counts


def dtype_of(counts: Mapping[str, int], config: Mapping[str, Any] | None = None) -> str:
    """The number format in words: that of the quantisation where there is one, else the one most bytes have."""
    quantised = quantisation(config or {})
    if quantised:
        return quantised
    sizes: dict[str, int] = {}
    for dtype, count in counts.items():
        name = "fp8" if dtype.startswith("F8") else _NAMES.get(dtype, "")
        sizes[name] = sizes.get(name, 0) + count * _WIDTHS.get(dtype, 1)
    if not sizes:
        named = (config or {}).get("torch_dtype") or (config or {}).get("dtype")
        return named if named in ("bfloat16", "float16", "float32") else ""
    first = max(sizes, key=lambda name: sizes[name])
    return first if sizes[first] >= 0.75 * sum(sizes.values()) else "mixed"


def quantisation(config: Mapping[str, Any]) -> str:
    """``4 bit``, ``8 bit``, ``fp8`` … where a configuration says that its weights are quantised; else empty."""
    given = config.get("quantization_config")
    if not isinstance(given, dict):
        return ""
    method = str(given.get("quant_method") or "").lower()
    if given.get("load_in_4bit") is True or method in ("mxfp4", "nvfp4"):
        return "4 bit"
    if given.get("load_in_8bit") is True:
        return "8 bit"
    if "fp8" in method:
        return "fp8"
    bits = given.get("bits") or given.get("w_bit") or given.get("nbits")
    if method == "compressed-tensors":
        return _compressed(given)
    return f"{bits} bit" if type(bits) is int and 1 <= bits <= 16 else "quantised"


def _compressed(given: Mapping[str, Any]) -> str:
    groups = given.get("config_groups")
    for group in list(groups.values())[:10] if isinstance(groups, dict) else []:
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict) and type(weights.get("num_bits")) is int:
            bits = weights["num_bits"]
            return "fp8" if bits == 8 and weights.get("type") == "float" else f"{bits} bit"
    return "quantised"


def parameters_of(counts: Mapping[str, int], config: Mapping[str, Any]) -> int | None:
    """How many parameters, exactly; ``None`` where files of quantised weights cannot tell."""
    plain = {dtype: count for dtype, count in counts.items() if dtype in ("BF16", "F16", "F32", "F64")}
    if not plain or quantisation(config) or any(d.startswith("F8") or d in ("U8", "I8", "F4") for d in counts):
        return None
    return sum(plain.values())


def newest(folder: Path, names: Iterable[str]) -> float | None:
    """When one of the files was last read or written, in Unix seconds."""
    times = []
    for name in names:
        try:
            found = os.stat(folder / name)
            times += [found.st_atime, found.st_mtime]
        except (OSError, ValueError):
            continue
    return max(times, default=None)


def _listing(folder: Path) -> set[str]:
    found: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= _MOST_FILES:
                    break
                found.add(entry.name)
    except (OSError, ValueError):
        pass
    return found


def plain(name: str) -> bool:
    """Whether an index names a file that lies in the model's own folder."""
    parts = name.split("/")
    return len(name) < 300 and "\0" not in name and not any(part in ("", ".", "..") for part in parts)


def _size(path: Path) -> int | None:
    return os.stat(path).st_size if is_file(path) else None

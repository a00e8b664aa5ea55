"""Spoils the corpus: what no one thought of."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.history import readers, walk
from engine.history.summary import RunSummary
from tests.corpus.case import Case

_FUZZED = ("trl-sft-whole", "transformers-4-6-glue", "llama-factory-saves", "ms-swift-v1", "axolotl-whole", "unsloth-outputs", "tensorboard-only",
           "tensorboard-new-style", "odd-strings-for-numbers", "llama-factory-killed", "ms-swift-killed", "own-with-everything")  # fmt: skip
_READ = ("trainer_state.json", "adapter_config.json", "README.md", "all_results.json", "train_results.json", "trainer_log.jsonl", "logging.jsonl",
         "args.json", "training_args.yaml", "config.json", "debug.log", "llamaboard_config.yaml", "run.json", "status.json", "notes.json")  # fmt: skip


_ODD: tuple[Any, ...] = (None, True, False, -1, 0, 1.5, "", "text", "1e5", "nan", [], {}, [1, [2]], {"a": {"b": 1}}, float("nan"), float("inf"),
        -float("inf"), 2**63, -(2**70), 10**400, 1e308, "\ud800", "\x1b]0;x\x07", "x" * 5000, [None] * 3)  # fmt: skip


def confuse(content: bytes, dice: random.Random) -> bytes:
    """JSON in which some values are of another kind; what is no JSON is spoilt."""
    lines = content.splitlines() if content[:1] == b"{" and b"}\n{" in content else [content]
    place = dice.randrange(len(lines))
    try:
        value = json.loads(lines[place])
    except (ValueError, RecursionError):
        return spoil(content, dice)
    for _ in range(dice.randrange(1, 4)):
        holder, spot = value, None
        while isinstance(holder, dict | list) and holder:
            key = dice.choice(list(holder)) if isinstance(holder, dict) else dice.randrange(len(holder))
            spot = (holder, key)
            if dice.random() < 0.3:
                break
            holder = holder[key]
        if spot is None or dice.random() < 0.02:
            value = copy.deepcopy(dice.choice(_ODD))
        elif isinstance(spot[0], dict) and dice.random() < 0.1:
            spot[0][dice.choice(("", "x" * 3000, "loss", "step", "eval_loss", "\ud800"))] = copy.deepcopy(
                dice.choice(_ODD)
            )
        else:
            spot[0][spot[1]] = copy.deepcopy(dice.choice(_ODD))
    lines[place] = json.dumps(value, indent=2 if len(lines) == 1 else None).encode()
    return b"\n".join(lines) + b"\n"


def spoil(content: bytes, dice: random.Random) -> bytes:
    """Cut, flip, insert, double or drop some bytes."""
    if not content:
        return bytes([dice.randrange(256)])
    first, last = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    kind = dice.randrange(7)
    if kind == 0:
        return content[:first]
    if kind == 1:
        place = dice.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1 << dice.randrange(8)]) + content[place + 1 :]
    if kind == 2:
        return (
            content[:first]
            + dice.choice((b"\0", b"NaN", b"{", b"[", b'"', b"-", b"1e999", b"null", b"\xff", b"\n", b"9" * 5000))
            + content[first:]
        )
    if kind == 3:
        return content[:first] + content[last:]
    if kind == 4:
        return content[:last] + content[first:]
    if kind == 5:
        return content[:first] + bytes(last - first) + content[last:]
    return content[first:]


def fuzz(cases: list[Case], folder: Path, sound: Callable[[RunSummary, Path], None], *, rounds: int, seed: int) -> int:
    """Spoil one file after another in copies of some runs; each must be read; returns how many were.

    ``sound`` checks each row. More rounds by hand: see the test that calls this.
    """
    dice = random.Random(seed)
    copies = []
    for case in cases:
        if case.name in _FUZZED:
            copies.append(folder / case.name)
            shutil.copytree(case.path, copies[-1], symlinks=True)
    files = [
        (run, file)
        for run in copies
        for file in sorted(run.rglob("*"))
        if file.name in _READ or "tfevents" in file.name
    ]
    assert len(copies) == len(_FUZZED) and len(files) > 40
    for number in range(rounds):
        run, file = files[dice.randrange(len(files))]
        content = file.read_bytes()
        file.write_bytes(dice.choice((spoil, confuse))(content, dice))
        try:
            assert number % 5 or run in list(walk.find([run])) or file.name in ("README.md", "run.json")
            row = readers.read_summary(run)
            record = readers.read_record(run) if number % 2 else None
            for told in (row, record and record.summary):
                if told is not None:
                    sound(told, run)
        except BaseException as error:
            error.add_note(f"round {number} of seed {seed}: {file}")
            raise
        finally:
            file.write_bytes(content)
    return rounds

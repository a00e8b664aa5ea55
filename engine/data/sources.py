"""Several files in one setting: ``a.jsonl,b.csv:1000,c.json:25%,d.jsonl:x2``."""

from __future__ import annotations

import glob
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import InputError, Problem
from engine.paths import expand

_AMOUNT = re.compile(r"(.+):(x\d{1,4}|\d{1,12}|\d{1,3}(?:\.\d+)?%)", re.S | re.A)
_MEANT = re.compile(r"(.+):([^:/]{0,20})", re.S)
_PATTERN = re.compile(r"[*?[]")
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Source:
    """One file; ``amount`` is empty for all rows, or ``1000`` (at most so many), ``25%`` (a share) or ``x2`` (so often)."""

    path: Path
    amount: str = ""

    def taken(self, rows: int) -> int:
        """How many samples come of so many rows."""
        if not self.amount:
            return rows
        if self.amount.startswith("x"):
            return rows * int(self.amount[1:])
        if self.amount.endswith("%"):
            return min(rows, round(rows * float(self.amount[:-1]) / 100))
        return min(rows, int(self.amount))

    def pick(self, rows: Sequence[_Row], seed: int) -> list[_Row]:
        """The samples of these rows: drawn by the seed where not all are taken, in the file's order."""
        count = self.taken(len(rows))
        if count == len(rows):
            return list(rows)
        if count > len(rows):
            return list(rows) * (count // len(rows))
        return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), count))]


def parse(text: str, setting: str = "train_path") -> list[Source]:
    """The files of a setting. A text that is the name of a file as a whole is that file. Raises :class:`InputError`."""
    if "," not in text or _is_file(text):
        parts = [text]
    else:
        parts = [part.strip() for part in _split(text) if part.strip()]
        if not parts:
            raise InputError(Problem("missing-file", "names no file", f"Check {setting}", setting=setting))
    named = [_source(part, setting) for part in parts]
    return [found for source in named for found in _matches(source)]


def absolute(text: str) -> str:
    """The same files from any folder."""
    try:
        sources = parse(text)
    except InputError:
        return text
    paths = [f"{source.path.absolute()}{':' if source.amount else ''}{source.amount}" for source in sources]
    return ",".join(paths)


def resolved(value: Any, folder: Path) -> Any:
    """A setting of a settings file in ``folder``: relative files that stand beside it are made absolute."""
    if isinstance(value, list):
        return [resolved(part, folder) for part in value]
    if not isinstance(value, str) or not value.strip():
        return value
    try:
        parts = [value] if (folder / value).exists() else value.split(",")
        return ",".join(_beside(part, folder) for part in parts)
    except (OSError, ValueError, RuntimeError):
        return value  # a path that is none: the check of the data says so


def _beside(text: str, folder: Path) -> str:
    name = text.strip()
    match = None if (folder / name).exists() else _AMOUNT.fullmatch(name)
    plain = match.group(1) if match else name
    if (
        not plain
        or expand(plain).is_absolute()
        or not ((folder / plain).exists() or (_PATTERN.search(plain) and glob.glob(plain, root_dir=folder)))
    ):
        return text
    return f"{folder / plain}:{match.group(2)}" if match else str(folder / plain)


def _split(text: str) -> list[str]:
    """Parts between commas; a comma in the name of a file that is there does not part it."""
    words, out = text.split(","), []
    while words:
        take = next(
            (n for n in range(len(words), 1, -1) if _is_file(_AMOUNT.sub(r"\1", ",".join(words[:n]).strip()))), 1
        )
        out.append(",".join(words[:take]))
        words = words[take:]
    return out


def _source(text: str, setting: str) -> Source:
    match = None if _is_file(text) else _AMOUNT.fullmatch(text)
    if match is None:
        meant = None if _is_file(text) else _MEANT.fullmatch(text)
        if meant is not None and _is_file(meant.group(1)):
            said = f"asks for a part of a file that cannot be understood ({meant.group(2)})"
            raise InputError(Problem("bad-amount", said, "1000 means at most so many rows, 25% a share, x2 each row twice",
                                     setting=setting, file=meant.group(1)))  # fmt: skip
        return Source(expand(text))
    amount = match.group(2)
    if float(amount.strip("x%")) <= 0:
        raise InputError(Problem("bad-amount", f"asks for no rows of a file ({amount})", "Leave the file out, or ask for more",
                                 setting=setting, file=match.group(1)))  # fmt: skip
    if amount.endswith("%") and float(amount[:-1]) > 100:
        raise InputError(Problem("bad-amount", f"asks for more than all rows of a file ({amount})", "x2 takes each row twice",
                                 setting=setting, file=match.group(1)))  # fmt: skip
    return Source(expand(match.group(1)), amount)


def is_pattern(path: Path) -> bool:
    """Whether a name was meant to stand for files that it fits."""
    return _PATTERN.search(str(path)) is not None


def _matches(source: Source) -> list[Source]:
    """A pattern like ``data/*.parquet`` stands for the files that it fits, in the order of their names."""
    pattern = str(source.path)
    if not is_pattern(source.path) or _is_file(pattern):
        return [source]
    return [Source(Path(path), source.amount) for path in sorted(glob.glob(pattern)) if Path(path).is_file()] or [
        source
    ]


def _is_file(text: str) -> bool:
    try:
        return expand(text).exists()
    except (OSError, ValueError, RuntimeError):
        return False

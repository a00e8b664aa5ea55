"""Completes a path as a shell does: as far as all candidates agree, then it shows them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MAX_ENTRIES = 5000


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` is the longer path (the same if nothing could be added); ``candidates`` are the names that fit."""

    text: str
    candidates: tuple[str, ...] = ()

    def moved(self, before: str) -> bool:
        """Whether anything was added."""
        return self.text != before


def complete(text: str, *, directories_only: bool = False) -> Completion:
    """Complete the last part of a path; ``~`` is understood and stays as it was typed."""
    head, _, part = text.rpartition("/")
    folder = Path(head + "/" if "/" in text else ".").expanduser()
    try:
        with os.scandir(folder) as entries:
            names = []
            for number, entry in enumerate(entries):
                if number >= MAX_ENTRIES:
                    break
                if entry.name.startswith(part) and (part.startswith(".") or not entry.name.startswith(".")):
                    is_folder = _is_folder(entry)
                    if is_folder or not directories_only:
                        names.append(entry.name + ("/" if is_folder else ""))
    except (OSError, ValueError, RuntimeError):
        return Completion(text)
    if not names:
        return Completion(text)
    names.sort()
    common = os.path.commonprefix(names)  # noqa: RUF071 - letter by letter is what a completion wants
    prefix = f"{head}/" if "/" in text else ""
    longer = prefix + common if len(common) > len(part) else text
    return Completion(longer, tuple(names) if len(names) > 1 else ())


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False

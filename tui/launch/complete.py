"""Completes a path as a shell does: as far as all candidates agree, then it shows them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from engine.paths import expand

MAX_ENTRIES = 5000
PATH_KINDS = ("path", "directory")


@dataclass(frozen=True, slots=True)
class Completion:
    """``text`` is the longer path (the same if nothing could be added); ``candidates`` are the names that fit.

    Candidates are given only if there are several, without the ``folder`` before them; folders among them end with a
    slash. All of it is raw.
    """

    text: str
    candidates: tuple[str, ...] = ()
    folder: str = ""


def complete(text: str, *, directories_only: bool = False) -> Completion:
    """Complete the last part of a path; ``~`` is understood and stays as it was typed.

    Names are compared in composed form: files copied from a Mac have decomposed names, which nobody can type.
    """
    folder_text = text[: text.rfind("/") + 1]
    part = _composed(text[len(folder_text) :])
    return _agree(text, folder_text, part, _names(folder_text, part, directories_only))


def complete_model(text: str) -> Completion:
    """Complete a base model: a directory, else the hub id of a model that lies in the local hub cache."""
    found = complete(text, directories_only=True)
    if found.candidates or found.text != text or finished(text, "directory"):
        return found
    return _agree(text, "", text, [name for name in cached_models() if name.startswith(text)])


def complete_name(text: str, names: Sequence[str]) -> Completion:
    """Complete one of some known names, else a path."""
    fitting = [name for name in names if text and name.startswith(text)]
    return _agree(text, "", text, fitting) if fitting else complete(text)


def cached_models() -> list[str]:
    """Hub ids of the models in the local hub cache."""
    from engine.models import cache

    return cache.names()


def _agree(text: str, folder: str, part: str, names: list[str]) -> Completion:
    if not names:
        return Completion(text)
    if len(names) == 1:
        return Completion(folder + names[0])
    composed = [_composed(name) for name in names]
    common = _common(min(composed), max(composed))
    longer = folder + common if len(common) > len(part) else text
    return Completion(longer, tuple(names), folder)


def finished(text: str, kind: str) -> bool:
    """Whether a path names what the field wants (a file, or a model's directory), so that Tab may move on."""
    try:
        path = expand(text)
        return path.is_file() if kind == "path" else (path / "config.json").is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def _names(folder_text: str, part: str, directories_only: bool) -> list[str]:
    names = []
    try:
        folder = expand(folder_text or ".")
        with os.scandir(folder) as entries:
            for number, entry in enumerate(entries):
                if number >= MAX_ENTRIES:
                    break
                if _composed(entry.name).startswith(part) and (part.startswith(".") or not entry.name.startswith(".")):
                    is_folder = _is_folder(entry)
                    if is_folder or not directories_only:
                        names.append(entry.name + ("/" if is_folder else ""))
    except (OSError, ValueError, RuntimeError):
        return []
    return sorted(names)


def _common(first: str, last: str) -> str:
    """The beginning that the first and last of sorted names, and so all between them, have in common."""
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return first[:same]


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False

"""A line being edited that may be a path: completion as a shell does it, with the candidates at hand."""

from __future__ import annotations

import asyncio
from typing import Literal

from tui.launch.complete import PATH_KINDS, Completion, complete, finished
from tui.launch.line import LineEditor

Part = tuple[str, Literal["field", "marked", "cursor"]]


class Entry(LineEditor):
    """A text field's state. ``kind`` is a setting's kind; only ``path`` and ``directory`` complete.

    ``new`` paths need not exist. ``candidates`` are names that fit (folders end with a slash) and ``chosen`` is the one
    in the field, -1 for none.
    """

    def __init__(self, text: str = "", *, kind: str = "text", selected: bool = False, new: bool = False) -> None:
        super().__init__(text, selected=selected)
        self.kind = kind
        self.new = new
        self.touched = False
        self.candidates: tuple[str, ...] = ()
        self.chosen = -1

    async def complete(self) -> bool:
        """Complete as far as is certain, else show what fits, then choose from it; ``False`` if nothing is to be done.

        A field that nobody has typed in is left alone, so that Tab always gets through a form. Directories are read in
        a thread: a slow file system must not freeze the app.
        """
        if self.kind not in PATH_KINDS or not self.touched or not self.text.strip():
            return False
        text = self.text
        found, done = await asyncio.to_thread(_look, text, self.kind)
        return self.take(found, done) if self.text == text else True

    def take(self, found: Completion, done: bool) -> bool:
        """Take in what completion found; ``False`` if that is nothing new."""
        if self.chosen >= 0:
            self.candidates, self.chosen = (), -1
        if found.text != self.text:
            self.set(found.text)
            self.candidates, self.chosen = found.candidates, -1
            return True
        if done or len(found.candidates) < 2:
            return False
        if self.candidates:
            return not self.new and self.choose(1)
        self.candidates, self.chosen = found.candidates, -1
        return True

    def choose(self, by: int) -> bool:
        """Put the next or previous candidate into the field; ``False`` if none are shown."""
        if not self.candidates:
            return False
        folder = self._folder
        if self.chosen < 0:
            self.chosen = 0 if by > 0 else len(self.candidates) - 1
        else:
            self.chosen = (self.chosen + by) % len(self.candidates)
        super().set(folder + self.candidates[self.chosen])
        self.touched = True
        return True

    def insert(self, text: str) -> None:
        """Type or paste; a pasted path may stand in quotes."""
        if (
            self.kind in PATH_KINDS
            and len(text) > 2
            and text.strip()[0] == text.strip()[-1]
            and text.strip()[0] in "'\""
        ):
            text = text.strip()[1:-1]
        super().insert(text)
        self._edited()

    def press(self, key: str) -> bool:
        """Do what an editing key asks for."""
        before = self.text
        known = super().press(key)
        if self.text != before:
            self._edited()
        elif known:
            self.touched = True
        return known

    def _edited(self) -> None:
        self.touched = True
        part = self.text.rpartition("/")[2]
        fitting = tuple(name for name in self.candidates if name.startswith(part))
        # A chosen folder stands in the field with its slash: what is typed then goes on inside it.
        self.candidates = fitting if self.chosen < 0 and part else ()
        self.chosen = -1

    @property
    def _folder(self) -> str:
        """The part before the candidates' names."""
        text = self.text.removesuffix("/") if self.chosen >= 0 else self.text
        return text[: text.rfind("/") + 1]

    def parts(self, width: int) -> list[Part]:
        """The field in ``width`` cells, ready to draw."""
        before, at, after = self.window(width)
        mark: Literal["field", "marked"] = "marked" if self.selected else "field"
        return [(before, mark), (at, "cursor"), (after, mark)]


def _look(text: str, kind: str) -> tuple[Completion, bool]:
    return complete(text, directories_only=kind == "directory"), finished(text, kind)

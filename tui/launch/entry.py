"""A line being edited that may be a path: completion as a shell does it, with the candidates at hand."""

from __future__ import annotations

import asyncio
from typing import Literal

from tui.launch.complete import PATH_KINDS, Completion, cached_models, complete, complete_model, complete_name, finished
from tui.launch.line import LineEditor

Part = tuple[str, Literal["field", "marked", "cursor"]]


class Entry(LineEditor):
    """A text field's state. ``kind`` is a setting's kind; only ``path`` and ``directory`` complete.

    ``new`` paths need not exist; a ``model`` may also be a hub id, and ``names`` may stand for a path.
    ``candidates`` are names that fit (folders end with a slash) and ``chosen`` is the one in the field, -1 for none.
    """

    def __init__(
        self, text: str = "", *, kind: str = "text", selected: bool = False, new: bool = False, model: bool = False,
        names: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(text, selected=selected)
        self.kind = kind
        self.new = new
        self.model = model
        self.names = names
        self._folder = ""
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
        found, done = await asyncio.to_thread(self._look, text)
        return self.take(found, done) if self.text == text else True

    def take(self, found: Completion, done: bool) -> bool:
        """Take in what completion found; ``False`` if that is nothing new."""
        if self.chosen >= 0:
            self.candidates, self.chosen = (), -1
        if found.text != self.text:
            self.set(found.text)
            self.candidates, self.chosen, self._folder = found.candidates, -1, found.folder
            return True
        if done or len(found.candidates) < 2:
            return False
        if self.candidates:
            return not self.new and self.choose(1)
        self.candidates, self.chosen, self._folder = found.candidates, -1, found.folder
        return True

    def _look(self, text: str) -> tuple[Completion, bool]:
        """In a thread."""
        if self.model:
            return complete_model(text), finished(text, self.kind) or text in cached_models()
        if self.names:
            return complete_name(text, self.names), text in self.names or finished(text, self.kind)
        return complete(text, directories_only=self.kind == "directory"), finished(text, self.kind)

    def choose(self, by: int) -> bool:
        """Put the next or previous candidate into the field; ``False`` if none are shown."""
        if not self.candidates:
            return False
        if self.chosen < 0:
            self.chosen = 0 if by > 0 else len(self.candidates) - 1
        else:
            self.chosen = (self.chosen + by) % len(self.candidates)
        super().set(self._folder + self.candidates[self.chosen])
        self.touched = True
        return True

    def insert(self, text: str) -> None:
        """Type or paste; a pasted path may stand in quotes."""
        bare = text.strip()
        if self.kind in PATH_KINDS and len(bare) > 2 and bare[0] == bare[-1] and bare[0] in "'\"":
            text = bare[1:-1]
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
        part = self.text[len(self._folder) :] if self.text.startswith(self._folder) else ""
        fitting = tuple(name for name in self.candidates if name.startswith(part))
        # A chosen folder stands in the field with its slash: what is typed then goes on inside it.
        self.candidates = fitting if self.chosen < 0 and part else ()
        self.chosen = -1

    def parts(self, width: int) -> list[Part]:
        """The field in ``width`` cells, ready to draw."""
        before, at, after = self.window(width)
        mark: Literal["field", "marked"] = "marked" if self.selected else "field"
        return [(before, mark), (at, "cursor"), (after, mark)]

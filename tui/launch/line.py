"""One line of text being edited: pure state, with the keys that people know from shells and from forms."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

from engine.text import REPLACEMENT, clean

JUMPS = " /,._-="


class LineEditor:
    """A text and a cursor in it. ``text`` is raw; what :meth:`window` gives may be drawn.

    ``selected`` means that the whole text is marked, as in a form field that one has just entered: the next character
    replaces it, a cursor key keeps it.
    """

    def __init__(self, text: str = "", *, selected: bool = False) -> None:
        self.text = text
        self.cursor = len(text)
        self.selected = selected and bool(text)

    def set(self, text: str, *, selected: bool = False) -> None:
        """Replace the text; the cursor goes to its end."""
        self.text, self.cursor, self.selected = text, len(text), selected and bool(text)

    def insert(self, text: str) -> None:
        """Type or paste; of several lines only the first is taken."""
        lines = text.splitlines()
        text = lines[0] if lines else ""
        if self.selected:
            self.set("")
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def press(self, key: str) -> bool:
        """Do what an editing key asks for; whether the key was one."""
        action = _KEYS.get(key)
        if action is None:
            return False
        getattr(self, action)()
        return True

    def left(self) -> None:
        """One character back."""
        self.go(0 if self.selected else self._step(self.cursor, -1))

    def right(self) -> None:
        """One character on."""
        self.go(len(self.text) if self.selected else self._step(self.cursor, 1))

    def word_left(self) -> None:
        """To the beginning of the word."""
        self.go(self._word_start())

    def word_right(self) -> None:
        """Behind the word."""
        place = self.cursor
        while place < len(self.text) and self.text[place] in JUMPS:
            place += 1
        while place < len(self.text) and self.text[place] not in JUMPS:
            place += 1
        self.go(place)

    def home(self) -> None:
        """To the beginning."""
        self.go(0)

    def end(self) -> None:
        """To the end."""
        self.go(len(self.text))

    def backspace(self) -> None:
        """Delete what is marked, or the character before the cursor."""
        if self.selected:
            self.set("")
        else:
            self._cut(self._step(self.cursor, -1), self.cursor)

    def delete(self) -> None:
        """Delete what is marked, or the character at the cursor."""
        if self.selected:
            self.set("")
        else:
            self._cut(self.cursor, self._step(self.cursor, 1))

    def delete_word(self) -> None:
        """Delete back to the beginning of the word."""
        self._cut(self._word_start(), self.cursor)

    def delete_before(self) -> None:
        """Delete all before the cursor."""
        self._cut(0, self.cursor)

    def delete_after(self) -> None:
        """Delete all from the cursor on."""
        self._cut(self.cursor, len(self.text))

    def window(self, width: int) -> tuple[str, str, str]:
        """What of the text fits into ``width`` cells: before, at and behind the cursor, which is always in it.

        The cursor takes a cell of its own at the end of the text.
        """
        shown = [*(drawable(character) for character in self.text), " "]
        end = self._step(self.cursor, 1) if self.cursor < len(self.text) else self.cursor + 1
        at = "".join(shown[self.cursor : end])
        room = max(0, width - max(1, cell_len(at)))
        start, taken = self.cursor, 0
        while start > 0 and taken + cell_len(shown[start - 1]) <= room:
            start -= 1
            taken += cell_len(shown[start])
        while start < self.cursor and cell_len(shown[start]) == 0:
            start += 1
        stop = end
        while stop < len(self.text) and taken + cell_len(shown[stop]) <= room:
            taken += cell_len(shown[stop])
            stop += 1
        return "".join(shown[start : self.cursor]), at, "".join(shown[end:stop])

    def go(self, place: int) -> None:
        """Put the cursor somewhere."""
        self.cursor, self.selected = max(0, min(place, len(self.text))), False

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.go(start)

    def _step(self, place: int, by: int) -> int:
        """The next place that does not split a character from the marks that belong to it."""
        place = max(0, min(len(self.text), place + by))
        while 0 < place < len(self.text) and unicodedata.combining(self.text[place]):
            place += by
        return place

    def _word_start(self) -> int:
        place = self.cursor
        while place > 0 and self.text[place - 1] in JUMPS:
            place -= 1
        while place > 0 and self.text[place - 1] not in JUMPS:
            place -= 1
        return place


def drawable(character: str) -> str:
    """One character as it may be drawn: what could steer a terminal is replaced, so that places stay countable."""
    if character.isprintable():
        return character
    if character == "\t":
        return " "
    safe = clean(character)
    return safe if len(safe) == 1 and safe.isprintable() else REPLACEMENT


_KEYS = {
    "left": "left", "right": "right", "home": "home", "end": "end", "backspace": "backspace", "delete": "delete",
    "ctrl+a": "home", "ctrl+e": "end", "ctrl+d": "delete", "ctrl+w": "delete_word", "ctrl+u": "delete_before",
    "ctrl+k": "delete_after", "ctrl+left": "word_left", "ctrl+right": "word_right", "alt+b": "word_left",
    "alt+f": "word_right", "alt+left": "word_left", "alt+right": "word_right", "alt+backspace": "delete_word",
    "ctrl+h": "backspace",
}  # fmt: skip

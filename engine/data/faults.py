"""What is wrong with a row or a file, and the end of a check that nobody waits for any more."""

from __future__ import annotations

from typing import Any


class Bad(Exception):
    """A row, or a whole file, that cannot be used: a short stable kind, a message and what to do."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


class Note(Bad):
    """Something that a file holds besides its rows, to be said and no row that cannot be used."""


class Cancelled(Exception):
    """Whoever asked for a check has withdrawn the question."""


_NAMES = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    return _NAMES.get(type(value), "a number")

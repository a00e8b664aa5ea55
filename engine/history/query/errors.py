"""What is wrong with a filter, in words, and where."""

from __future__ import annotations

from engine.errors import InputError, Problem


class QueryError(InputError):
    """A filter that cannot be understood; ``position`` is the index in its text, ``incomplete`` that it only ends too early."""

    def __init__(self, message: str, position: int, hint: str = "", *, incomplete: bool = False) -> None:
        super().__init__(Problem("bad-filter", message, hint, setting="filter"))
        self.message, self.hint = message, hint
        self.position, self.incomplete = position, incomplete

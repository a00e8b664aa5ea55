"""Work that is begun before it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Result = TypeVar("_Result")


class Ahead(Generic[_Result]):
    """``work`` in a thread of its own, while this one goes on; the thread keeps no process alive."""

    def __init__(self, work: Callable[[], _Result], name: str) -> None:
        self._work = work
        self._found: list[_Result] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raise what the work has raised so far, if anything."""
        if self._error is not None:
            raise self._error

    def result(self) -> _Result:
        """Wait for it. Raises what it raised."""
        self._thread.join()
        self.check()
        return self._found.pop()

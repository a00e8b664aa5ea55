"""Limits on what a chat template may take: one that never ends, or writes without measure, must hang nobody.

Templates are programs that come with models. The inspector switches the limits on; without, nothing here does anything but
measure texts. Time is limited with a signal, and so in the main thread only.
"""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SECONDS = 5.0
MEMORY = 4 << 30
# A chat of any size may become so many characters, and so many more for each of its own.
_CHARACTERS, _EACH = 1_000_000, 100
_on = False
_armed = False


class Endless(BaseException):
    """A template did not come to its end. No ``Exception``, so that nobody takes it for a chat that is refused."""

    def __init__(self) -> None:
        super().__init__(f"the chat template does not come to an end within {SECONDS:.3g} s")


class TooMuch(ValueError):
    """A template wrote far more than it was given."""


def switch_on() -> None:
    """From now on, in this process. More memory than it may take raises ``MemoryError``."""
    global _on
    signal.signal(signal.SIGALRM, _end)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY or most > MEMORY:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, most))
    _on = True


def is_on() -> bool:
    """Whether templates are limited in this process."""
    return _on


def all_memory() -> None:
    """For a process that one with limits has started: take its limit off again."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


@contextmanager
def limited() -> Iterator[None]:
    """A time limit on one rendering; raises :class:`Endless`."""
    global _armed
    if not _on or _armed or threading.current_thread() is not threading.main_thread():
        yield
        return
    _armed = True
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _armed = False


def measured(text: str, messages: list[dict[str, Any]]) -> str:
    """The rendered text again; raises :class:`TooMuch` where it is out of all proportion to the chat."""
    if len(text) > _CHARACTERS:
        given = sum(len(str(value)) for message in messages for value in message.values())
        if len(text) > _CHARACTERS + _EACH * given:
            raise TooMuch(f"the chat template writes {len(text):,} characters for a chat of {given:,}")
    return text


def _end(number: int, frame: FrameType | None) -> None:
    raise Endless

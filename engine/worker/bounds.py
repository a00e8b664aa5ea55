"""Limits on what a chat template may take: one that never ends, or writes without measure, must hang nobody.

Templates are programs that come with models. Texts are measured and time is limited wherever chats are rendered; time with a
signal, and so in the main thread only. The inspector switches the other limits on: a training process needs its memory.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SECONDS = 5.0
MEMORY = 4 << 30
# A chat of any size may become so many characters, and so many more for each of its own.
_CHARACTERS, _EACH = 1_000_000, 100
_on = False
_armed = False
_REMEMBERED, _ENDLESS = 16, 3
_ended: set[str] = set()


class Endless(BaseException):
    """A template did not come to its end. No ``Exception``, so that nobody takes it for a chat that is refused."""

    def __init__(self, *_: object) -> None:  # as it comes from another process
        super().__init__(f"the chat template does not come to an end within {SECONDS:.3g} s")


class TooMuch(ValueError):
    """A template wrote far more than it was given, or what is no text."""


def switch_on() -> None:
    """From now on, in this process. More memory than it may take raises ``MemoryError``."""
    global _on
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
    if _armed or threading.current_thread() is not threading.main_thread() or not _hears():
        yield
        return
    _armed = True
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _armed = False


def ends(template: str, work: Callable[[], object]) -> None:
    """See once, in a process of its own, that rendering with a template comes to an end, whatever else comes of it.

    Raises :class:`Endless`: a single operation of Python's own may take for ever, and no signal is heard meanwhile.
    """
    if not _on or template in _ended:
        return
    child = os.fork()
    if not child:
        with suppress(Exception):
            try:
                work()
            except Endless:
                os._exit(_ENDLESS)
        os._exit(0)
    until, pause = time.monotonic() + 2 * SECONDS, 0.001
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Endless
        time.sleep(pause)
        pause = min(0.02, 2 * pause)
    if os.WIFEXITED(ended[1]) and os.WEXITSTATUS(ended[1]) == _ENDLESS:
        raise Endless
    if os.WIFSIGNALED(ended[1]):
        raise TooMuch("the chat template ends the process that renders it")
    if len(_ended) >= _REMEMBERED:
        _ended.clear()
    _ended.add(template)


def measured(text: str, messages: list[dict[str, Any]]) -> str:
    """The rendered text again; raises :class:`TooMuch` where it is out of all proportion to the chat, or no text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TooMuch(f"it would become text with half a character in it (U+{ord(text[error.start]):04X})") from None
    if len(text) > _CHARACTERS:
        given = sum(len(str(value)) for message in messages for value in message.values())
        if len(text) > _CHARACTERS + _EACH * given:
            raise TooMuch(f"the chat template writes {len(text):,} characters for a chat of {given:,}")
    return text


@functools.cache
def _hears() -> bool:
    """Whether the signal comes here: somebody else may wait for it. Looked at once; chats are rendered by the million."""
    if signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
        signal.signal(signal.SIGALRM, _end)
    return signal.getsignal(signal.SIGALRM) is _end


def _end(number: int, frame: FrameType | None) -> None:
    raise Endless

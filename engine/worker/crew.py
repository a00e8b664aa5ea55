"""Rows marked in several processes: rendering a chat template is Python's work, and so one core's in one process."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain
from typing import Any

from engine.data import Chat
from engine.worker import dataset, tokencache
from engine.worker.many import marked
from engine.worker.marking import CannotRender, Marker

LEAST_BYTES = 16 * 2**20
"""Files that are smaller are done before the processes would be."""
MOST = 8
# One portion ends at whichever comes first.
_ROWS, _LETTERS = 1000, 1_000_000
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
PATIENCE_SECONDS = 120.0
"""A portion takes about a second: who needs so long hangs."""
Portion = tuple[Any, dict[int, str]]
_marker: Marker | None = None


class Lost(Exception):
    """A process was killed, or hangs; the rows can be marked in this one."""


def size(bytes_of_data: int) -> int:
    """How many processes are worth it; one means none beside this one."""
    if bytes_of_data < LEAST_BYTES:
        return 1
    return min(MOST, len(os.sched_getaffinity(0)))


def portions(marker: Marker, chats: Iterable[Chat], processes: int) -> Iterator[Portion]:
    """Marked chats in their order, as record batches for the cache, each with what is wrong with rows that cannot be rendered.

    The processes are forks of this one: everything is loaded in them, and none of them touches the GPU. Raises what ``chats``
    raises, and :class:`Lost`.
    """
    global _marker
    _marker = marker
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _begin)
    waiting: deque[Future[Portion]] = deque()
    ended = False
    try:
        for some in _cut(chats):
            waiting.append(pool.submit(_mark, some))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result(PATIENCE_SECONDS)
        while waiting:
            yield waiting.popleft().result(PATIENCE_SECONDS)
        ended = True
    except BrokenProcessPool:
        raise Lost("a process that tokenised was ended from outside") from None
    except TimeoutError:
        raise Lost("a process that tokenised does not answer") from None
    finally:
        if not ended:
            forks = list((getattr(pool, "_processes", None) or {}).values())
            for process in forks:
                process.kill()
            for process in forks:
                process.join(5)
        pool.shutdown(wait=ended, cancel_futures=True)


def _cut(chats: Iterable[Chat]) -> Iterator[list[Chat]]:
    some: list[Chat] = []
    letters = 0
    for chat in chats:
        some.append(chat)
        letters += len(chat.text) if chat.text is not None else sum(
            len(str(value)) for value in chain.from_iterable(message.values() for message in chat.messages))  # fmt: skip
        if len(some) >= _ROWS or letters >= _LETTERS:
            yield some
            some, letters = [], 0
    if some:
        yield some


def _begin() -> None:
    """In a new process: it ends with its parent, whatever ends that, and leaves stops to it."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    gc.freeze()


def _mark(chats: list[Chat]) -> Portion:
    assert _marker is not None
    rows, refused = [], {}
    for number, one in enumerate(marked(_marker, chats)):
        flags = dataset.judged(one)
        if isinstance(one, CannotRender):
            refused[number] = str(one)
        rows.append((one if flags & dataset.KEPT and not isinstance(one, CannotRender) else None, flags))
    return tokencache.batch_of(rows), refused

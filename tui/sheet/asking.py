"""Asks the form's inspector for a sheet: remembers answers, keeps a time limit, and gives up what is outdated."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import orjson

from engine.errors import Problem
from engine.inspecting import InspectError, Inspector
from tui.preview.feed import Asks

_KEPT, _COARSE = 40, 256 * 2**20
# Taking these back would end the process, which then had to load its libraries again; their answers are remembered, as are
# counted lengths in :mod:`engine.preflight.counting`.
_NOT_TAKEN_BACK = frozenset({"open", "costs"})
# Settings on which neither the sizes of a model nor the choices of ``auto`` depend.
_IDLE = frozenset({
    "train_path", "eval_path", "output_dir", "run_name", "learning_rate", "num_train_epochs", "max_steps", "warmup_ratio",
    "weight_decay", "seed", "data_seed", "save_steps", "eval_steps", "logging_steps", "save_total_limit", "sample_prompts",
    "data_format", "data_fields", "on_bad_rows",
})  # fmt: skip


class Outdated(Exception):
    """Nobody wants the answer any more."""


class Memo:
    """Answers of the inspector to what was asked last; ``stamp`` is what the files behind them held. Thread-safe."""

    def __init__(self) -> None:
        self._answers: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._stamp: object = None

    def renew(self, stamp: object) -> None:
        """Forget everything if the files are others now."""
        with self._lock:
            if stamp != self._stamp:
                self._stamp = stamp
                self._answers.clear()

    def recall(self, key: bytes) -> dict[str, Any] | None:
        """An answer that was given before."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def keep(self, key: bytes, answer: dict[str, Any]) -> None:
        """Remember an answer."""
        with self._lock:
            self._answers[key] = answer
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)


class Asking(Inspector):
    """Stands before an inspector while one sheet is made.

    ``here`` says whether the model's files are on this machine: if not, nobody is asked. All questions together may take
    ``seconds``. ``outdated`` tells whether the sheet is still wanted; if not, :class:`Outdated` is raised.
    """

    def __init__(self, inspector: Asks, memo: Memo, *, here: bool = True, seconds: float | None = None,
                 outdated: Callable[[], bool] = lambda: False) -> None:  # fmt: skip
        super().__init__()
        self._asked, self._memo, self._here, self._outdated = inspector, memo, here, outdated
        self._until = None if seconds is None else time.monotonic() + seconds

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        """The answer, from memory if it was given before."""
        self._check()
        kept = what in _NOT_TAKEN_BACK
        key = _key(what, fields) if kept else b""
        answer = self._memo.recall(key) if kept else None
        if answer is not None:
            return answer
        if not self._here:
            raise InspectError(
                Problem("not-downloaded", "the model is not on this machine: what it costs is not known yet")
            )
        if self._until is not None:
            timeout = min(timeout, self._until - time.monotonic())
            if timeout <= 0:
                raise InspectError(
                    Problem("timeout", "not everything could be checked in the time that a start may take")
                )
        try:
            answer = self._asked.ask(what, timeout, None if kept else cancelled, **fields)
        except InspectError:
            self._check()
            raise
        if kept:
            self._memo.keep(key, answer)
        self._check()
        return answer

    def _check(self) -> None:
        if self._outdated():
            raise Outdated


def _key(what: str, fields: dict[str, Any]) -> bytes:
    settings, machine = fields.get("settings"), fields.get("machine")
    if isinstance(settings, dict):
        fields = {**fields, "settings": {name: value for name, value in settings.items() if name not in _IDLE}}
    if isinstance(machine, dict) and machine.get("memory_free") is not None:
        # Free memory is never quite the same twice; what is chosen by it is not that fine.
        fields = {**fields, "machine": {**machine, "memory_free": machine["memory_free"] // _COARSE}}
    return orjson.dumps([what, fields], option=orjson.OPT_SORT_KEYS, default=str)

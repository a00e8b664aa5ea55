"""What the hub says of a model, asked in a short-lived process that is killed when the time is up."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, fields
from typing import Any

import orjson

from engine.errors import Problem
from engine.models import cache
from engine.supervisor.environment import worker_environment
from engine.text import clean

_LOOK_SECONDS = 0.05
_MOST_BYTES = 4 * 2**20
_KEPT_SECONDS, _KEPT_BAD_SECONDS, _MOST_KEPT = 60.0, 10.0, 200
# What says that the hub could not be asked, not that the model cannot be had.
SILENT = ("offline", "timeout", "unreachable", "cancelled")


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """``kind``: ok, missing, gated, bad-token, no-revision, offline, timeout, unreachable, cancelled.

    The rest is known where it is ok: ``bytes`` of the weights, ``template`` whether it has a chat template, ``gated`` that
    its licence must be accepted (and was, for this token), ``trouble`` why it cannot be tuned here. All text is cleaned.
    """

    kind: str
    message: str = ""
    hint: str = ""
    commit: str | None = None
    gated: bool = False
    code: bool = False
    needs_code: bool = False
    bytes: int | None = None
    parameters: int | None = None
    dtype: str = ""
    architecture: str = ""
    model_type: str = ""
    licence: str = ""
    template: bool | None = None
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether the model can be had."""
        return self.kind == "ok"

    def problem(self) -> Problem:
        """What keeps the model from being had, as a problem of its setting."""
        setting = "revision" if self.kind == "no-revision" else "base_model"
        return Problem(f"hub-{self.kind}", self.message, self.hint, setting=setting)


def ask(name: str, revision: str | None = None, *, timeout: float = 10.0,
        cancelled: threading.Event | None = None) -> HubAnswer:  # fmt: skip
    """What the hub says of a model, in at most ``timeout`` seconds. Never raises."""
    return _asked(name, revision, timeout, cancelled, fetch=False)


def fetch_code(name: str, revision: str | None = None, *, timeout: float = 60.0,
               cancelled: threading.Event | None = None) -> HubAnswer:  # fmt: skip
    """Download a model's code and settings, not its weights, into the local cache, so that the code can be read. Never raises."""
    return _asked(name, revision, timeout, cancelled, fetch=True)


def _asked(
    name: str, revision: str | None, timeout: float, cancelled: threading.Event | None, *, fetch: bool
) -> HubAnswer:
    if not cache.is_name(name):
        return HubAnswer("missing", f"{clean(name, 200)} is no name of a model on the hub",
                         "Give a hub id like Qwen/Qwen2.5-0.5B-Instruct")  # fmt: skip
    if cache.offline():
        return HubAnswer("offline", "the hub is switched off (HF_HUB_OFFLINE)", "Unset HF_HUB_OFFLINE to ask it")
    try:
        # What is looked at on the way goes into a folder that is removed whatever becomes of the process.
        with tempfile.TemporaryDirectory(prefix="tunedeck-hub-", ignore_cleanup_errors=True) as folder:
            request = {"name": name, "revision": revision or None, "timeout": timeout, "folder": folder, "fetch": fetch}
            return _answer(_run(request, timeout, cancelled), timeout)
    except OSError as error:
        return HubAnswer("unreachable", f"the hub could not be asked: {error.strerror or error}", "Try again")


def _run(request: dict[str, Any], timeout: float, cancelled: threading.Event | None) -> bytes | str:
    """The process's answer, or why there is none. Raises ``OSError``."""
    env = {**worker_environment(sys.executable, None), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
           "HF_HUB_VERBOSITY": "critical"}  # fmt: skip
    until = time.monotonic() + timeout
    command = [sys.executable, "-P", "-m", "engine.models.hubprocess"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env,
                          start_new_session=True) as process:  # fmt: skip
        try:
            given: bytes | None = orjson.dumps(request)
            while True:
                if cancelled is not None and cancelled.is_set():
                    return "cancelled"
                try:
                    return process.communicate(given, timeout=_LOOK_SECONDS)[0]
                except subprocess.TimeoutExpired:
                    given = None
                if time.monotonic() > until:
                    return "timeout"
        finally:
            process.kill()


def _answer(said: bytes | str, timeout: float) -> HubAnswer:
    if said == "cancelled":
        return HubAnswer("cancelled", "was taken back")
    if said == "timeout":
        return HubAnswer("timeout", f"the hub did not answer within {timeout:.3g} s", "Check the network, or try again")
    try:
        record = orjson.loads(said) if len(said) <= _MOST_BYTES else {}
        names = {field.name for field in fields(HubAnswer)}
        return HubAnswer(**{key: _clean(value) for key, value in record.items() if key in names})
    except (ValueError, TypeError, AttributeError):
        return HubAnswer(
            "unreachable", "the hub could not be asked: its library failed", "Check that huggingface_hub is installed"
        )


def _clean(value: Any) -> Any:
    return clean(value, 600) if isinstance(value, str) else value


class _Kept:
    """Answers of the last minute, and one lock for each question, so that it is asked once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, ...], tuple[float, HubAnswer]] = {}
        self._asking: dict[tuple[str, ...], threading.Lock] = {}

    def find(self, key: tuple[str, ...]) -> HubAnswer | None:
        """An answer that is still good."""
        with self._lock:
            until, answer = self._answers.get(key, (0.0, None))
            return answer if time.monotonic() < until else None

    def keep(self, key: tuple[str, ...], answer: HubAnswer) -> None:
        """Who has just logged in or accepted a licence should not have to wait for a minute."""
        seconds = _KEPT_SECONDS if answer.ok or answer.kind in SILENT else _KEPT_BAD_SECONDS
        with self._lock:
            while len(self._answers) >= _MOST_KEPT:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = time.monotonic() + seconds, answer

    def turn(self, key: tuple[str, ...]) -> threading.Lock:
        """The lock of one question."""
        with self._lock:
            if len(self._asking) > _MOST_KEPT:
                self._asking.clear()
            return self._asking.setdefault(key, threading.Lock())

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._answers.clear()


_kept = _Kept()


def lately(name: str, revision: str | None = None, *, timeout: float = 6.0) -> HubAnswer:
    """As :func:`ask`, but an answer of the last minute is good enough (of ten seconds, where it was a refusal)."""
    key = (name, revision or "", os.environ.get("HF_ENDPOINT", ""), _login())
    with _kept.turn(key):
        answer = _kept.find(key)
        if answer is None:
            answer = ask(name, revision, timeout=timeout)
            _kept.keep(key, answer)
        return answer


def forget() -> None:
    """Forget the answers of the last minute."""
    _kept.clear()


def _login() -> str:
    """Tells one login from another, without the token."""
    words = [os.environ.get(name, "") for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE")]
    try:
        words.append(str(cache.token_file().stat().st_mtime_ns))
    except OSError:
        pass
    return hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()

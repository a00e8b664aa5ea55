"""Asks the inspector (:mod:`engine.worker.inspect`), a process that is started on demand and holds the heavy libraries."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from engine import templates
from engine.errors import Problem, TunedeckError
from engine.supervisor.environment import worker_environment
from engine.text import clean

if TYPE_CHECKING:
    from engine.config import RunConfig

_LOOK_SECONDS = 0.05
# So long a request that was taken back may go on before the process is given up.
_GRACE_SECONDS = 5.0


class InspectError(TunedeckError):
    """What was asked has no answer; the problem says why."""

    @property
    def kind(self) -> str:
        """The short name of what went wrong; ``cancelled`` where the question was taken back."""
        return self.problems[0].kind


@dataclass(slots=True)
class _Question:
    answer: dict[str, Any] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class _Child:
    """One inspector process and the questions that wait for its answers."""

    def __init__(self, python: str) -> None:
        try:
            env = worker_environment(python, "")
            self.process = subprocess.Popen(
                [python, "-P", "-m", "engine.worker.inspect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=env, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise _error(
                "no-inspector", f"the inspector cannot be started: {error.strerror or error}", "Check worker_python"
            ) from None
        self.waiting: dict[int, _Question] = {}
        self._writing = threading.Lock()
        self.ended: Problem | None = None
        self._said: deque[str] = deque(maxlen=20)
        self._errors = threading.Thread(target=self._drain, name="tunedeck-inspector-log", daemon=True)
        self._errors.start()
        threading.Thread(target=self._listen, name="tunedeck-inspector", daemon=True).start()

    def send(self, request: dict[str, Any]) -> None:
        """Write one line; that the process has ended shows in the answer."""
        assert self.process.stdin is not None
        with self._writing, contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(orjson.dumps(request) + b"\n")
            self.process.stdin.flush()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(OSError):
            self.process.kill()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            try:
                answer = orjson.loads(raw)
                question = self.waiting.pop(answer["id"])
                fits = isinstance(answer.get("answer"), dict) or isinstance(answer["error"]["message"], str)
            except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
                fits = False
            if not fits:
                self._end("gave an answer that is none")
                return
            question.answer = answer
            question.done.set()
        self._end("")

    def _end(self, what: str) -> None:
        self.kill()
        code = self.process.wait()
        self._errors.join(2)
        if not what:
            what = "ended" if code >= 0 else f"was ended by {_signal_name(-code)}"
            what += ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        last = next((line for line in reversed(self._said) if line.strip()), "")
        text = f"the inspector {what}" + (f": {clean(last, 200)}" if last else "")
        self.ended = Problem("inspector-ended", text, "Ask again: it starts anew")
        for question in list(self.waiting.values()):
            question.done.set()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None:
                    pipe.close()

    def _drain(self) -> None:
        """Read what it writes to standard error: a full pipe would hold it up."""
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            while raw := pipe.readline(4096):
                self._said.append(raw.decode("utf-8", "replace").rstrip())


class Inspector:
    """Asks one inspector, which is started with the first question. Safe to use from several threads."""

    def __init__(self, python: str | None = None) -> None:
        self._python = python or sys.executable
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._closed = False

    def ask(
        self, what: str, timeout: float = 60.0, cancelled: threading.Event | None = None, **fields: Any
    ) -> dict[str, Any]:
        """The answer to one question, in at most ``timeout`` seconds; ``cancelled`` takes it back when it is set.

        Raises :class:`InspectError` with words for people. A process that has ended is started anew by the next question.
        """
        number, question = next(self._numbers), _Question()
        child = self._running()
        child.waiting[number] = question
        child.send({"id": number, "ask": what, **fields})
        return _value(self._wait(child, number, question, timeout, cancelled))

    def warm(self, config: RunConfig) -> None:
        """Start the process and have it load all that questions about a run need, beside other work; never raises."""
        threading.Thread(target=self._warm, args=(config,), name="tunedeck-inspector-warm", daemon=True).start()

    def close(self) -> None:
        """End the process; later questions are refused."""
        with self._lock:
            self._closed = True
            if self._child is not None:
                self._child.kill()

    @property
    def pid(self) -> int | None:
        """The process that answers, if one runs."""
        child = self._child
        return child.process.pid if child is not None and child.ended is None else None

    def _warm(self, config: RunConfig) -> None:
        with contextlib.suppress(TunedeckError):
            self.ask("open", 120.0, model=model_fields(config), assistant_only_loss=config.assistant_only_loss)
        with contextlib.suppress(TunedeckError):
            self.ask("costs", 120.0, settings=config.model_dump(), machine={"cuda": False}, chats=True)

    def _running(self) -> _Child:
        with self._lock:
            if self._closed:
                raise _error("inspector-ended", "the inspector was closed")
            if self._child is None or self._child.ended is not None or self._child.process.poll() is not None:
                self._child = _Child(self._python)
            return self._child

    def _wait(
        self, child: _Child, number: int, question: _Question, timeout: float, cancelled: threading.Event | None
    ) -> dict[str, Any]:
        until, why = time.monotonic() + timeout, ""
        while not question.done.wait(_LOOK_SECONDS):
            if child.ended is not None:
                break
            now = time.monotonic()
            if not why and (now > until or (cancelled is not None and cancelled.is_set())):
                why = "timeout" if now > until else "cancelled"
                until = now + _GRACE_SECONDS
                child.send({"cancel": number})
            elif why and now > until:
                child.kill()  # it does not even look: it hangs
                break
        if why == "cancelled":
            raise _error("cancelled", "was taken back")
        if question.answer.get("ok"):
            return question.answer
        if why:
            raise _error(
                "timeout", f"the inspector did not answer within {timeout:.3g} s", "Try again, or with a smaller file"
            )
        if not question.answer:
            raise InspectError(
                child.ended or Problem("inspector-ended", "the inspector ended", "Ask again: it starts anew")
            )
        return question.answer


def model_fields(config: RunConfig | Mapping[str, Any]) -> dict[str, Any]:
    """What every question about a model holds, from a run's settings.

    ``template`` is the text of the chat template that takes the place of the model's own, or ``None``. Raises
    :class:`engine.errors.InputError` where ``chat_template_path`` names none.
    """
    values = config if isinstance(config, Mapping) else config.model_dump()
    chosen = values.get(templates.SETTING)
    model = {name: values.get(name) for name in ("base_model", "revision", "trust_remote_code")}
    return {**model, "template": templates.text(str(chosen)) if chosen else None}


def _value(answer: dict[str, Any]) -> dict[str, Any]:
    if answer.get("ok") is True and isinstance(answer.get("answer"), dict):
        return dict(answer["answer"])
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    raise _error(
        str(error.get("kind") or "failed"),
        str(error.get("message") or "there is no answer"),
        str(error.get("hint") or ""),
    )


def _error(kind: str, message: str, hint: str = "") -> InspectError:
    return InspectError(Problem(kind, clean(message, 600), clean(hint, 300)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

"""``python -P -m engine.worker.inspect``: reads requests from standard input and answers on standard output."""

from __future__ import annotations

import functools
import json
import os
import queue
import signal
import threading
import traceback
from typing import Any

from engine.text import clean
from engine.worker import bounds
from engine.worker.inspect.answers import Answers, Refused

IDLE_SECONDS = 900.0
_LONGEST = 64 * 1024 * 1024


class Withdrawn(Exception):
    """The request was taken back."""


class Line:
    """Both pipes. A thread reads, so that a request can be taken back while it is worked on."""

    def __init__(self) -> None:
        # What libraries print must not be taken for an answer.
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._waiting: set[Any] = set()
        self._withdrawn: set[Any] = set()
        self.requests: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, name="tunedeck-requests", daemon=True).start()

    def give(self, number: Any, answer: dict[str, Any] | None, error: Refused | None = None) -> None:
        """The one answer to a request."""
        with self._lock:
            self._waiting.discard(number)
            self._withdrawn.discard(number)
        body: dict[str, Any] = {"id": number, "ok": error is None}
        if error is None:
            body["answer"] = answer
        else:
            body["error"] = {"kind": error.kind, "message": error.message, "hint": error.hint}
        data = json.dumps(body, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        try:
            with self._lock:
                self._out.write(data)
                self._out.flush()
        except OSError:
            os._exit(0)  # nobody listens any more

    def check(self, number: Any) -> None:
        """Raise where the request was taken back."""
        if number in self._withdrawn:
            raise Withdrawn

    def _read(self) -> None:
        with os.fdopen(0, "rb", closefd=False) as pipe:
            while raw := pipe.readline(_LONGEST):
                self._take(raw)
        os._exit(0)  # whoever asked has gone: whatever is being worked on is for nobody

    def _take(self, raw: bytes) -> None:
        try:
            request = json.loads(raw)
        except ValueError:
            request = None
        if isinstance(request, dict) and set(request) == {"cancel"}:
            with self._lock:
                if _is_id(request["cancel"]) and request["cancel"] in self._waiting:
                    self._withdrawn.add(request["cancel"])
        elif not isinstance(request, dict) or not _is_id(request.get("id")):
            self.give(None, None, Refused("bad-request", "a request is a JSON object with an id"))
        elif request["id"] in self._waiting:
            self.give(None, None, Refused("bad-request", "this id is of a request that waits"))
        else:
            with self._lock:
                self._waiting.add(request["id"])
            self.requests.put(request)


def main() -> None:
    """Answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing is fetched here: what is not on this machine is said to be missing.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    bounds.switch_on()
    line, answers = Line(), Answers()
    while True:
        try:
            request = line.requests.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            os._exit(0)  # nobody has asked for long; whoever does starts it again
        number = request["id"]
        try:
            line.check(number)
            line.give(number, answers.answer(request, functools.partial(line.check, number)))
        except Withdrawn:
            line.give(number, None, Refused("cancelled", "was taken back"))
        except Refused as refused:
            line.give(number, None, refused)
        except MemoryError:
            line.give(number, None, Refused("failed", "there is not enough memory for this"))
        except Exception as error:
            traceback.print_exc()
            lines = str(error).strip().splitlines() or [""]
            text = f"{type(error).__name__}: {clean(lines[0], 300)}" if lines[0] else type(error).__name__
            line.give(number, None, Refused("failed", text))


def _is_id(value: Any) -> bool:
    return type(value) in (int, str)


if __name__ == "__main__":
    main()

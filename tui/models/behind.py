"""What lies behind the form's model: its files on this machine, else what the hub says of it. In the probe's thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import Problem
from engine.text import clean
from tui.models import folders
from tui.models.folders import incomplete

if TYPE_CHECKING:
    from engine.models.catalogue import Model
    from engine.models.hub import HubAnswer
    from tui.launch.probe import Found

HUB_SECONDS = 6.0
# After so long a refusal is asked about again: somebody may have logged in meanwhile.
AGAIN_SECONDS = 20.0
Key = tuple[str, str | None]


class Hub:
    """Asks the hub about one model at a time, in threads of their own; ``told`` is called when there is an answer."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._told = told
        self._answers: dict[Key, tuple[float, HubAnswer]] = {}
        self._asking: set[Key] = set()

    def answer(self, name: str, revision: str | None, *, begin: bool) -> HubAnswer | None:
        """What the hub said; ``begin`` asks it where that is not known."""
        key = (name, revision)
        when, answer = self._answers.get(key, (0.0, None))
        stale = answer is None or (answer.kind != "ok" and time.monotonic() - when > AGAIN_SECONDS)
        if begin and stale and key not in self._asking:
            self._asking.add(key)
            threading.Thread(target=self._ask, args=(key,), name="tunedeck-hub", daemon=True).start()
        return answer

    def asks(self, name: str, revision: str | None) -> bool:
        """Whether an answer is on its way."""
        return (name, revision) in self._asking

    def _ask(self, key: Key) -> None:
        from engine.models import hub

        try:
            self._answers[key] = time.monotonic(), hub.lately(*key, timeout=HUB_SECONDS)
        finally:
            self._asking.discard(key)
        self._told()


def look(found: Found, hub: Hub) -> None:
    """Fill in what is known of the model, and what is wrong with it. Raises what a path can raise."""
    from engine.preflight import is_local_model

    asked = found.asked
    name, revision = asked.base_model.strip(), asked.revision.strip() or None
    model = found.model = folders.look(name, revision)
    if asked.trusts:
        found.code = _code(name, revision)
    if is_local_model(name):
        problem = _unfit(model, asked.worker_python) if "base_model" not in found.problems else None
    elif model is not None and not incomplete(model):
        problem = _unfit(model, asked.worker_python)
    else:
        answer = hub.answer(name, revision, begin=asked.settled)
        found.hub, found.asking = answer, hub.asks(name, revision)
        problem = _refused(name, model, answer, asked.settled)
    if problem is not None:
        found.problems.setdefault(problem.setting or "base_model", problem)


def _code(name: str, revision: str | None) -> str | None:
    """The code's SHA-256, empty where there is none; ``None`` where the model is not here."""
    from engine.models import cache, consent

    if cache.model_folder(name, revision) is None:
        return None
    code = consent.code_of(name, revision)
    return "" if code is None else code.sha256


def _unfit(model: Model | None, worker_python: str) -> Problem | None:
    """What another environment's libraries know is not known here."""
    if model is None or not model.trouble or worker_python.strip():
        return None
    return Problem("bad-model", f"cannot be fine-tuned here: {clean(model.trouble, 300)}", "Take another model: F12 shows those here",
                   setting="base_model")  # fmt: skip


def _refused(name: str, model: Model | None, answer: HubAnswer | None, settled: bool) -> Problem | None:
    from engine.models import cache, hub

    if not cache.is_name(name):
        hint = "Give a directory, or a hub id like Qwen/Qwen2.5-0.5B-Instruct; F12 shows the models here"
        return (
            Problem("bad-model", "is neither a directory nor a hub id", hint, setting="base_model") if settled else None
        )
    if answer is None:
        return None
    if answer.kind == "ok":
        trouble = f"cannot be fine-tuned here: {answer.trouble}"
        return Problem("bad-model", trouble, "Take another model", setting="base_model") if answer.trouble else None
    if answer.kind not in hub.SILENT:
        return answer.problem()
    if model is not None or answer.kind == "offline":
        state = f"is here in part only ({model.trouble})" if model is not None else "is not in the local hub cache"
        return Problem("bad-model", f"{state}, and {answer.message}", "Download it first, or take another model: F12",
                       setting="base_model")  # fmt: skip
    return None

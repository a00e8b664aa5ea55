"""Finds models, asks the hub and looks at directories in threads, so that no key ever waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tui.models.codefiles import Brought, read
from tui.models.folders import below, judged, look

if TYPE_CHECKING:
    from engine.hardware import Gpu
    from engine.models.catalogue import Model
    from engine.models.hub import HubAnswer

# Rows come in portions: the first at once, then so often.
PORTION_SECONDS = 0.15
# A path is looked at when nobody has typed for so long.
SETTLE_SECONDS = 0.15
HUB_SECONDS = 10.0


@dataclass(frozen=True)
class Found:
    """Models, more of them; ``over`` when there are no others."""

    models: list[Model]
    over: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Places:
    """Where is looked, and, once that was asked (``asked``), the GPU that has most memory free."""

    cache: Path
    folders: list[Path] = field(default_factory=list)
    gpu: Gpu | None = None
    asked: bool = False


@dataclass(frozen=True)
class Answered:
    """The hub has answered, or could not be asked."""

    name: str
    revision: str | None
    answer: HubAnswer


@dataclass(frozen=True)
class Looked:
    """What lies at a path that was typed; ``model`` is ``None`` where there is none. ``below``: models in that folder."""

    text: str
    model: Model | None
    below: tuple[Model, ...] = ()


@dataclass(frozen=True)
class CodeSeen:
    """The code that comes with a model."""

    path: Path
    brought: Brought


News = Found | Places | Answered | Looked | CodeSeen


class Feed:
    """Delivers news until it is stopped. Of scans, questions and paths only the newest counts."""

    def __init__(self, deliver: Callable[[News], None], extra: Iterable[Path] = ()) -> None:
        self._given, self._extra = deliver, list(extra)
        self._scanning, self._asking = threading.Event(), threading.Event()
        self._stopped = threading.Event()
        self._path = ""

    def stop(self) -> None:
        """Take everything back."""
        self._stopped.set()
        self._scanning.set()
        self._asking.set()

    def scan(self) -> None:
        """Look for models, anew."""
        self._scanning.set()
        self._scanning = cancelled = threading.Event()
        self._begin(self._scan, cancelled)

    def ask(self, name: str, revision: str | None) -> None:
        """Ask the hub about a model."""
        self._asking.set()
        self._asking = cancelled = threading.Event()
        self._begin(self._ask, name, revision, cancelled)

    def give_up(self) -> None:
        """The hub's answer is not wanted any more."""
        self._asking.set()

    def look(self, text: str) -> None:
        """Look at a path that is being typed."""
        self._path = text
        self._begin(self._look, text)

    def code(self, model: Model) -> None:
        """Look at the code that comes with a model."""
        self._begin(self._code, model)

    @staticmethod
    def _begin(work: Callable[..., None], *given: object) -> None:
        threading.Thread(target=work, args=given, name="tunedeck-models", daemon=True).start()

    def _deliver(self, news: News) -> None:
        if not self._stopped.is_set():
            self._given(news)

    def _scan(self, cancelled: threading.Event) -> None:
        from engine import hardware
        from engine.models import cache, catalogue

        trouble, portion, told = "", [], 0.0
        try:
            folders = catalogue.places(self._extra)
            self._deliver(Places(cache.folder_of_cache(), folders))
            for model in catalogue.scan(folders, cancelled):
                portion.append(judged(model))
                if cancelled.is_set():
                    return
                if time.monotonic() - told > PORTION_SECONDS:
                    self._deliver(Found(portion))
                    portion, told = [], time.monotonic()
            cards = hardware.gpus()
            freest = max(cards, key=lambda card: card.memory_free, default=None)
            self._deliver(Places(cache.folder_of_cache(), folders, freest, asked=True))
        except Exception as error:  # whatever it is: the screen must not search for ever
            trouble = str(error) or type(error).__name__
        if not cancelled.is_set():
            self._deliver(Found(portion, over=True, trouble=trouble))

    def _ask(self, name: str, revision: str | None, cancelled: threading.Event) -> None:
        from engine.models import hub

        answer = hub.ask(name, revision, timeout=HUB_SECONDS, cancelled=cancelled)
        if not cancelled.is_set():
            self._deliver(Answered(name, revision, answer))

    def _look(self, text: str) -> None:
        if self._stopped.wait(SETTLE_SECONDS) or text != self._path:
            return
        found: list[Model] = []
        try:
            model = look(text)
            if model is None:
                found = below(text, lambda: text != self._path or self._stopped.is_set())
        except (OSError, ValueError, RuntimeError):
            model = None
        if text == self._path:
            self._deliver(Looked(text, model, tuple(found)))

    def _code(self, model: Model) -> None:
        self._deliver(CodeSeen(model.path, read(model.name, model.revision)))

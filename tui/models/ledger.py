"""The picker's list without a screen: all models that were found, which of them a text lets through, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.paths import expand
from tui.format import model_name
from tui.models import values

if TYPE_CHECKING:
    from engine.models.catalogue import Model

ORDERS = ("used", "name", "parameters", "size")
ORDER_WORDS = {"used": "last used", "name": "name", "parameters": "parameters", "size": "size"}
# What is newest or largest comes first; names begin with A.
FALLING = {"used": True, "name": False, "parameters": True, "size": True}
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_HUB_ID = re.compile(rf"({_PART}/{_PART})(?:@([\w./-]+))?", re.ASCII)
_PLAIN_ID = re.compile(rf"({_PART})(?:@([\w./-]+))?", re.ASCII)
_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+)(?:/tree/([^?#]+))?.*")


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that is not in the list but was typed: ``kind`` is ``hub`` (an id) or ``directory`` (a path)."""

    kind: str
    name: str
    revision: str | None = None


def key(row: Any) -> tuple[str, ...]:
    """What tells one row from all others."""
    if isinstance(row, Offer):
        return "offer", row.kind, row.name, row.revision or ""
    return row.source, row.name, row.revision or "", str(row.path)


def is_path(text: str) -> bool:
    """Whether a text is the beginning of a path, and not words or a hub id."""
    return text.startswith(("/", "~", "./", "../")) or text in (".", "..")


def hub_id(text: str, *, plain: bool = False) -> tuple[str, str | None] | None:
    """The hub id and revision that a text names (``org/name``, ``org/name@revision`` or a page's address).

    ``plain`` also takes the few ids without an organisation, like ``gpt2``.
    """
    text = text.strip()
    page = _PAGE.fullmatch(text)
    if page is not None:
        text = page[1] + (f"@{page[2].strip('/')}" if page[2] else "")
    found = _HUB_ID.fullmatch(text) or (_PLAIN_ID.fullmatch(text) if plain else None)
    return None if found is None or found[1].startswith("datasets/") else (found[1], found[2])


class Ledger:
    """All models, and the rows to show of them; ``order`` is one of :data:`ORDERS`."""

    def __init__(self) -> None:
        self.models: list[Model] = []
        self.order, self.turned = ORDERS[0], False
        self._words: dict[int, str] = {}

    def clear(self) -> None:
        """Forget all models."""
        self.models, self._words = [], {}

    def add(self, models: Iterable[Model]) -> None:
        """More were found."""
        known = {key(model) for model in self.models}
        self.models += [model for model in models if key(model) not in known]

    @property
    def falling(self) -> bool:
        """Whether the largest comes first."""
        return FALLING[self.order] != self.turned

    def next_order(self) -> None:
        """Another order, in its usual direction."""
        self.order, self.turned = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)], False

    def rows(self, text: str = "") -> list[Any]:
        """What a text lets through; what it could mean besides stands first, what cannot be trained last."""
        text = text.strip()
        if is_path(text):
            below = _expanded(text)
            found = [m for m in self.models if m.source != "hub cache" and str(m.path).startswith(below)]
            return [Offer("directory", text), *self._sorted(found)]
        named = hub_id(text)
        words = (named[0] if named else text).lower().split()
        found = self._sorted(model for model in self.models if all(word in self._text(model) for word in words))
        named = named or (hub_id(text, plain=True) if not found else None)
        if named is None:
            return found
        offer = Offer("hub", *named)
        exact = [m for m in found if m.name == named[0] and not m.trouble and named[1] in (None, m.revision, m.commit)]
        return [*exact, offer, *(model for model in found if model not in exact)]

    def _text(self, model: Model) -> str:
        text = self._words.get(id(model))
        if text is None:
            parts = (model.name, model.architecture, model.model_type, model.licence, model.dtype, model.template,
                     model.source, model.trouble, model.revision or "", values.parameters(model.parameters))  # fmt: skip
            text = self._words[id(model)] = " ".join(parts).lower()
        return text

    def _sorted(self, models: Iterable[Model]) -> list[Model]:
        """In order; what is not known comes behind what is."""
        found = sorted(models, key=lambda model: (model_name(model.name).lower(), model.name))
        if self.order == "name":
            found.sort(key=lambda model: (model_name(model.name).lower(), model.name), reverse=self.falling)
        else:
            amounts = {"used": "used", "parameters": "parameters", "size": "bytes"}
            amount = amounts[self.order]
            sign = -1 if self.falling else 1
            found.sort(key=lambda model: _amount(getattr(model, amount), sign))
        found.sort(key=lambda model: bool(model.trouble))
        return found


def _amount(value: float | None, sign: int) -> tuple[bool, float]:
    return value is None, 0 if value is None else sign * value


def _expanded(text: str) -> str:
    try:
        return str(expand(text).absolute()) if text not in ("~", "~/") else str(Path.home())
    except (OSError, ValueError, RuntimeError):
        return text

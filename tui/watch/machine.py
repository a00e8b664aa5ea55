"""The machine under a run, from its ``hardware`` events: cards, processor, memory, disk. Frozen, with clean texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.text import clean

MOST_CARDS = 16
# So many readings stand in the short history of a card: five minutes at one every five seconds.
HISTORY = 60


@dataclass(frozen=True, slots=True)
class Card:
    """One graphics card: bytes, percent, °C and watts; ``None`` is not known. ``history`` is utilization, oldest first.

    ``own`` is what this run's processes hold, ``mine`` whether the run works on this card (``None``: not recorded).
    """

    index: int
    name: str = ""
    utilization: float | None = None
    used: float | None = None
    total: float | None = None
    own: float | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    mine: bool | None = None
    history: tuple[int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """One reading: ``time`` is Unix seconds, ``None`` if there was none; CPU in percent of all cores, run_cpu of one."""

    time: float | None = None
    cards: tuple[Card, ...] = ()
    silent: bool = False
    cpu: float | None = None
    cores: int | None = None
    run_cpu: float | None = None
    memory_used: float | None = None
    memory_total: float | None = None
    run_memory: float | None = None
    disk_free: float | None = None
    disk_total: float | None = None
    checkpoint: float | None = None

    @property
    def mine(self) -> tuple[Card, ...]:
        """The cards of the run; all of them where it is not recorded which these are."""
        return tuple(card for card in self.cards if card.mine) or tuple(c for c in self.cards if c.mine is None)

    @property
    def disk_short(self) -> bool:
        """Whether the next checkpoint does not fit."""
        return self.disk_free is not None and self.checkpoint is not None and self.disk_free < self.checkpoint


def read(event: Mapping[str, Any], earlier: Iterable[Mapping[str, Any]] = ()) -> Machine:
    """A reading from a ``hardware`` event of any shape; ``earlier`` are those before it, oldest first."""
    if not event:
        return Machine()
    host, disk = _map(event.get("host")), _map(event.get("disk"))
    history = _histories(earlier)
    cards = [_card(entry, history) for entry in entries(event)]
    cores = real(host.get("cores"))
    return Machine(
        time=real(event.get("time")),
        cards=tuple(cards[:MOST_CARDS]),
        silent=event.get("driver") == "silent",
        cpu=real(host.get("cpu")),
        cores=int(cores) if cores and 0 < cores < 1e6 else None,
        run_cpu=real(host.get("run_cpu")),
        memory_used=amount(host.get("memory_used")),
        memory_total=amount(host.get("memory_total")),
        run_memory=amount(host.get("run_memory")),
        disk_free=amount(disk.get("free")),
        disk_total=amount(disk.get("total")),
        checkpoint=amount(disk.get("next_checkpoint"), least=1.0),
    )


def _card(entry: dict[str, Any], history: dict[int, tuple[int | None, ...]]) -> Card:
    index, mine = _index(entry), entry.get("own")
    return Card(
        index=index,
        name=clean(str(entry.get("name") or ""), 60),
        utilization=real(entry.get("utilization")),
        used=amount(entry.get("memory_used")),
        total=amount(entry.get("memory_total"), least=1.0),
        own=amount(entry.get("memory_own")),
        temperature=real(entry.get("temperature")),
        power=real(entry.get("power")),
        power_limit=real(entry.get("power_limit")),
        mine=mine if isinstance(mine, bool) else None,
        history=history.get(index, ()),
    )


def _histories(readings: Iterable[Mapping[str, Any]]) -> dict[int, tuple[int | None, ...]]:
    columns: dict[int, list[int | None]] = {}
    for reading in list(readings)[-HISTORY:]:
        for entry in entries(reading):
            use = real(entry.get("utilization"))
            columns.setdefault(_index(entry), []).append(None if use is None else int(min(100, max(0, use))))
    return {index: tuple(column) for index, column in columns.items()}


def entries(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an event says of each card, as it stands there."""
    found = event.get("gpus")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _index(entry: dict[str, Any]) -> int:
    index = entry.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else -1


def real(value: Any) -> float | None:
    """A finite number, else ``None``."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def amount(value: Any, least: float = 0.0) -> float | None:
    """Bytes, or whatever else is counted: a finite number from ``least`` on, else ``None``."""
    found = real(value)
    return found if found is not None and found >= least else None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

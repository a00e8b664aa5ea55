"""The states that a form has gone through, one after the other, and what going back to one changes, in words."""

from __future__ import annotations

from typing import NamedTuple

from engine.config import settings
from engine.text import clean
from tui import format as fmt
from tui.launch.complete import PATH_KINDS

MOST = 100
# So many settings are named with their values, the others are counted.
NAMED = 4
_CELLS = 28


class Draft(NamedTuple):
    """What somebody has filled in, to be taken up again later."""

    texts: dict[str, str]
    own_output: bool
    trusted: tuple[str, str, str] | None
    untold: frozenset[str] = frozenset()
    title: str = ""

    def same(self, other: Draft) -> bool:
        """Whether nothing that somebody decided differs; a directory that is only proposed is nobody's decision."""
        return self.untold == other.untold and not _differing(self, other)


class Turn(NamedTuple):
    """A step back to an earlier state, or ``forth`` to the newest one, from the first."""

    was: Draft
    now: Draft
    forth: bool

    @property
    def names(self) -> list[str]:
        """The settings that have another value now."""
        return _differing(self.was, self.now)


class States:
    """A row of states and the one that counts. Going back ends at the first one; then all comes back again."""

    def __init__(self, first: Draft) -> None:
        self._states, self._at = [first], 0

    def amend(self, state: Draft) -> None:
        """The present state, as it is now."""
        self._states[self._at] = state

    def keep(self, state: Draft) -> None:
        """A new state, if it is one; what was taken back before it is gone."""
        if state.same(self._states[self._at]):
            self.amend(state)
            return
        self._states = [*self._states[: self._at + 1], state][-MOST:]
        self._at = len(self._states) - 1

    def turn(self) -> Turn | None:
        """One back; at the first state to the newest one; ``None`` if there is only one."""
        if len(self._states) < 2:
            return None
        was, forth = self._states[self._at], self._at == 0
        self._at = len(self._states) - 1 if forth else self._at - 1
        return Turn(was, self._states[self._at], forth)


def words(turn: Turn) -> str:
    """Which settings have another value again, from what to what."""
    names = turn.names
    said = [f"{name} {_value(turn.was, name)} is {_value(turn.now, name)} again" for name in names[:NAMED]]
    marked = [name for name in sorted(turn.now.untold ^ turn.was.untold) if name not in names]
    said += [
        f"{name} counts as {'not told' if name in turn.now.untold else 'decided'} again" for name in marked[:NAMED]
    ]
    more = max(0, len(names) - NAMED) + max(0, len(marked) - NAMED)
    return (
        f"{'All brought back' if turn.forth else 'Taken back'}: {', '.join(said)}{f', and {more} more' if more else ''}"
    )


def _differing(one: Draft, other: Draft) -> list[str]:
    return [name for name in settings() if _decided(one, name) != _decided(other, name)]


def _decided(draft: Draft, name: str) -> str:
    return "" if name == "output_dir" and not draft.own_output else draft.texts[name]


def _value(draft: Draft, name: str) -> str:
    text = fmt.cells(clean(_decided(draft, name), 4000)).strip()
    if not text:
        return "as proposed" if name == "output_dir" else "empty"
    return fmt.shorten(text, _CELLS, "start" if settings()[name].kind in PATH_KINDS else "end")

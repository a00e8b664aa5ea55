"""Where the terminal writes next, and how it looks: the shortest sequences that change that."""

from __future__ import annotations

from tui.terminal.pace import Place
from tui.terminal.sgr import PLAIN, Look, change


class Pen:
    """The terminal's cursor and the look it would write with."""

    def __init__(self) -> None:
        self.width = 0
        self.look = PLAIN
        # None: not known. After characters that some terminals make wider the column is only probable.
        self._at: Place | None = None
        self._sure = True
        self._look_known = False

    @property
    def at(self) -> Place | None:
        """Where the cursor is; ``None`` if that is not sure."""
        return self._at if self._sure else None

    def forget(self) -> None:
        """Nothing is known any more."""
        self._at, self.look, self._look_known = None, PLAIN, False

    def known(self) -> str:
        """What must be sent first, for the look to be what it is taken for."""
        out, self._look_known = "" if self._look_known else "\x1b[m", True
        return out

    def lose(self) -> None:
        """The cursor may be anywhere in its row."""
        self._at = None

    def wrote(self, x: int, y: int, *, sure: bool = True) -> None:
        """Text was written up to here; behind the last column terminals differ in where the cursor is."""
        self._at, self._sure = (x, y) if x < self.width else None, sure

    def wear(self, look: Look) -> str:
        """Write with this look from now on."""
        before, self.look = self.look, look
        return change(before, look)

    def go(self, x: int, y: int) -> str:
        """Move the cursor."""
        # Terminals cut what is beyond the last column.
        at, self._at = self._at, (x, y) if x < self.width else None
        if at == (x, y):
            return ""
        sure, self._sure = self._sure, True
        if at is not None and at[1] == y:
            if x == 0:
                return "\r"
            if sure and 0 < x - at[0] < 100:
                return f"\x1b[{x - at[0]}C" if x - at[0] > 1 else "\x1b[C"
            if sure and 0 < at[0] - x < 4:
                return "\b" * (at[0] - x)
            return f"\x1b[{x + 1}G"
        if x == 0:
            return f"\x1b[{y + 1}H" if y else "\x1b[H"
        if sure and at is not None and 0 <= at[0] - x < 4 and abs(y - at[1]) == 1:
            return ("\x1b[B" if y > at[1] else "\x1b[A") + "\b" * (at[0] - x)
        return f"\x1b[{y + 1};{x + 1}H"

"""How many cells characters take, and of which terminals disagree about it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from unicodedata import east_asian_width

from rich.cells import get_character_cell_size, split_graphemes

# More than a letter with its accents: what is longer is cut, since it may be combined with again and again.
LONGEST = 10
_JOINERS = frozenset("\u200d\ufe0f")


def clusters(text: str) -> Iterator[tuple[str, int]]:
    """What takes cells of its own, as Textual counts them, with their number; 0: it belongs to what is before the text."""
    if _JOINERS.isdisjoint(text):
        for character in text:
            yield character, get_character_cell_size(character)
        return
    for start, end, size in split_graphemes(text)[0]:
        yield text[start:end], size


def is_unsure(cell: str) -> bool:
    """Whether terminals disagree: accents, emoji of several characters, flags, and what is newer than many of them."""
    return len(cell) > 1 or cell > "\U0001efff"


def is_ambiguous(cell: str) -> bool:
    """Whether the character takes two cells in terminals that are set up for East Asian languages."""
    return not cell.isascii() and _ambiguous(cell[0])


@lru_cache(maxsize=4096)
def _ambiguous(character: str) -> bool:
    return east_asian_width(character) == "A"

"""Colours and attributes of a cell, as the numbers of an SGR sequence, and the shortest way from one to another."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

_EXTENDED = {"5": 3, "2": 5}  # 38;5;N and 38;2;R;G;B: how many numbers belong together

COLOURED = 60  # by which a colour's strongest part exceeds its weakest


class Look(NamedTuple):
    """Foreground, background (as SGR parameters, empty for the default) and attributes (1 bold, 7 reverse …)."""

    fore: str = ""
    back: str = ""
    attributes: tuple[str, ...] = ()


PLAIN = Look()


@lru_cache(maxsize=4096)
def read(parameters: str, before: Look = PLAIN) -> Look:
    """The look after ``ESC [ parameters m``."""
    fore, back, attributes = before
    numbers = parameters.split(";") if parameters else ["0"]
    place = 0
    while place < len(numbers):
        number = numbers[place] or "0"
        if number in ("38", "48"):
            length = _EXTENDED.get(numbers[place + 1] if place + 1 < len(numbers) else "", 1)
            colour = ";".join(numbers[place : place + length])
            fore, back = (colour, back) if number == "38" else (fore, colour)
            place += length
            continue
        place += 1
        value = int(number)
        if value == 0:
            fore, back, attributes = PLAIN
        elif value == 39:
            fore = ""
        elif value == 49:
            back = ""
        elif 30 <= value <= 37 or 90 <= value <= 97:
            fore = number
        elif 40 <= value <= 47 or 100 <= value <= 107:
            back = number
        elif number not in attributes:
            attributes = (*attributes, number)
    return Look(fore, back, attributes)


def is_bold(look: Look) -> bool:
    """Whether it is a heading's look."""
    return "1" in look.attributes


def is_erasable(look: Look) -> bool:
    """Whether nothing but the background can be seen of a blank: no line through or under it, and not reversed."""
    return set(look.attributes) <= {"1", "2", "3", "22", "23"}


@lru_cache(maxsize=512)
def is_coloured(look: Look) -> bool:
    """Whether the text has a colour, and is not black, grey or white."""
    numbers = [int(number) for number in look.fore.split(";") if number]
    match numbers:
        case [38, 2, red, green, blue]:
            return max(red, green, blue) - min(red, green, blue) > COLOURED
        case [38, 5, number]:
            return 0 < number < 232 and number not in (7, 8, 15)
        case [number]:
            return 31 <= number <= 36 or 91 <= number <= 96
    return False


@lru_cache(maxsize=4096)
def change(before: Look, after: Look) -> str:
    """The sequence that leads from one look to the other; empty if they are the same."""
    if before == after:
        return ""
    if after == PLAIN:
        return "\x1b[m"
    full = ";".join(part for part in ("0", *after.attributes, after.fore, after.back) if part)
    if set(before.attributes) - set(after.attributes):
        return f"\x1b[{full}m"
    parts = [number for number in after.attributes if number not in before.attributes]
    if after.fore != before.fore:
        parts.append(after.fore or "39")
    if after.back != before.back:
        parts.append(after.back or "49")
    short = ";".join(parts)
    return f"\x1b[{short if len(short) < len(full) else full}m"

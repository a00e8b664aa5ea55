"""What a chat template said when it refused a chat, for people."""

from __future__ import annotations

from jinja2 import TemplateSyntaxError

from engine.text import clean


def reason(error: Exception) -> str:
    """What a template said when it refused a chat, in one line."""
    if isinstance(error, MemoryError):
        return "the chat template takes more memory than a chat can need"
    lines, line = str(error).strip().splitlines(), _line_of(error)
    text = clean(lines[0], 200).rstrip(".") if lines else type(error).__name__
    return text if line is None else f"{text} (line {line} of the template)"


def _line_of(error: BaseException) -> int | None:
    """The line of a template at which an error came up, where it tells."""
    found, place = error.lineno if isinstance(error, TemplateSyntaxError) else None, error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == "<template>":
            found = place.tb_lineno
        place = place.tb_next
    return found

"""The one line above and the one line below every screen."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs

Part = tuple[str, str]
HELP_WHILE_TYPING = "f1"


class _Line(Widget):
    """One line that repaints only when its text changes."""

    DEFAULT_CSS = "_Line { height: 1; width: 1fr; }"
    can_focus = False

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: list[Part] = []

    def parts(self, width: int) -> list[Part]:
        """The line as (text, component class) pairs."""
        raise NotImplementedError

    def renew(self) -> None:
        """Repaint if the text is not what is on the screen."""
        if self.is_mounted and self.size.width and self.parts(self.size.width) != self._shown:
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The line."""
        self._shown = self.parts(self.size.width)
        segments = [Segment(text, self._style_of(name)) for text, name in self._shown if text]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _style_of(self, name: str) -> Style:
        return self.get_component_rich_style(name) if name else self.rich_style


class TopBar(_Line):
    """The name of the app, the title of the screen, and free text at the right; all texts are cleaned here."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"topbar--brand", "topbar--title", "topbar--right"}
    DEFAULT_CSS = """
    TopBar {
        dock: top; background: $panel; color: $foreground;
        & > .topbar--brand { color: $accent; background: $panel; text-style: bold; }
        & > .topbar--title { color: $foreground; background: $panel; text-style: bold; }
        & > .topbar--right { color: $text-muted; background: $panel; }
    }
    """

    def __init__(self, title: str, *, right: str = "", id: str | None = None) -> None:
        super().__init__(id=id)
        self._title, self._right = clean(title, 500), clean(right, 500)

    @property
    def right(self) -> str:
        """The text at the right."""
        return self._right

    def set_title(self, title: str) -> None:
        """Change the title."""
        self._title = clean(title, 500)
        self.renew()

    def set_right(self, text: str) -> None:
        """Change the text at the right."""
        self._right = clean(text, 500)
        self.renew()

    def parts(self, width: int) -> list[Part]:
        """Brand and title at the left, the free text at the right."""
        brand = " tunedeck "
        right = fmt.shorten(fmt.cells(self._right), max(0, width - len(brand) - 12))
        room = width - len(brand) - cell_len(right) - 3
        title = fmt.fit(f" {self._title}", room) if room > 4 else " " * max(0, room)
        return [(brand, "topbar--brand"), (title, "topbar--title"), (f"  {right} ", "topbar--right")]


class _Shown(NamedTuple):
    """A key of the footer: how it is written, what it does, and the key to press."""

    written: str
    label: str
    action: str
    key: str

    @property
    def width(self) -> int:
        return cell_len(self.written) + cell_len(self.label) + 3


class KeyBar(_Line):
    """The keys of the screen, from its visible bindings, in their order; help is always there. Clicks press the key."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"keybar--key", "keybar--label"}
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        & > .keybar--key { color: $accent; text-style: bold; }
        & > .keybar--label { color: $text-muted; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._spots: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _screen: self.renew())

    def parts(self, width: int) -> list[Part]:
        """As many keys as fit."""
        keys = self._keys()
        last = [key for key in keys if key.action in ("app.help", "app.quit")]
        room = width - 1 - sum(key.width for key in last)
        shown = []
        for key in keys:
            if key not in last and key.width <= room:
                room -= key.width
                shown.append(key)
        out: list[Part] = [(" ", "")]
        x = 1
        self._spots = []
        for key in shown + last:
            self._spots.append((x, x + key.width - 2, key.key))
            out += [(key.written, "keybar--key"), (f" {key.label}  ", "keybar--label")]
            x += key.width
        return out

    def _keys(self) -> list[_Shown]:
        found: dict[str, _Shown] = {}
        active = self.screen.active_bindings
        for each in active.values():
            binding = each.binding
            if binding.show and each.enabled and binding.action not in found and binding.description:
                written = binding.key_display or binding.key
                if glyphs().ascii and not written.isascii():
                    written = binding.key
                found[binding.action] = _Shown(written, binding.description, binding.action, binding.key)
        # Where a text is typed, a question mark is a letter: the other key of the help is said instead.
        other = active.get(HELP_WHILE_TYPING)
        if other is not None and other.binding.action == "app.help" and "app.help" not in found:
            found["app.help"] = _Shown("F1", other.binding.description, "app.help", HELP_WHILE_TYPING)
        return list(found.values())

    def on_click(self, event: events.Click) -> None:
        """Press the key under the mouse."""
        for start, end, key in self._spots:
            if start <= event.x < end:
                self.app.simulate_key(key)
                return

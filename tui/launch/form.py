"""What keys and mouse do in the list of settings: moving, stepping, and editing a value in its line."""

from __future__ import annotations

from textual import events
from textual.message import Message

from engine.config import SettingInfo, settings
from tui.launch import ladder
from tui.launch.complete import PATH_KINDS
from tui.launch.entry import Entry
from tui.launch.model import FormModel, default_text
from tui.launch.view import SettingsView

MOVES = {"up": -1, "down": 1}
STEPS = {"left": -1, "right": 1}


class SettingsList(SettingsView, can_focus=True):
    """The settings under the keyboard.

    Not editing: up and down move, left and right step, Enter or typing edits, Tab edits the next one. Editing: up and
    down step a number, Tab completes a path or goes on, Enter ends the edit and Escape takes it back. While
    :attr:`locked`, nothing changes.
    """

    class Edited(Message):
        """A value changed."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Settled(Message):
        """An edit is over."""

    def __init__(self, model: FormModel) -> None:
        super().__init__(model)
        self.locked = False
        self._before, self._was_untold = "", False

    # Moving.

    def go(self, name: str, *, edit: bool = False) -> None:
        """Put the focus on a setting, in the view of all settings if this one does not have it."""
        self.end_edit()
        if name not in self.names:
            self.view = "all"
            self.rebuild(name)
        elif name != self._in_focus:
            self._in_focus = name
            self.renew()
            self._show_cursor()
            self.post_message(self.Moved())
        if edit:
            self.begin_edit()

    def move(self, by: int) -> bool:
        """So many settings down (or up); ``False`` at the ends."""
        names = self.names
        if not names:
            return False
        place = names.index(self._in_focus) if self._in_focus in names else 0
        goal = max(0, min(len(names) - 1, place + by))
        self.go(names[goal])
        return goal != place

    async def on_click(self, event: events.Click) -> None:
        """A click selects; on the setting in focus it edits, or puts the cursor where it was clicked."""
        place = event.y + self.scroll_offset.y
        row = self._rows[place] if place < len(self._rows) else None
        if self.locked or row is None:
            return
        if row.kind == "candidate" and self.entry is not None and row.place >= 0:
            self.entry.chosen = row.place - 1
            self._choose(1)
        elif row.kind == "setting" and row.text != self._in_focus:
            self.go(row.text)
        elif row.kind == "setting" and self.entry is None:
            if row.info is not None and ladder.words(row.info):
                self.step(1)
            else:
                self.begin_edit()

    # Keys.

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """While a value is edited, letters are typed here, whatever they mean elsewhere."""
        return self.entry is not None and character is not None and character.isprintable()

    async def on_key(self, event: events.Key) -> None:
        """Keys of the list or of the field; all others are the screen's."""
        info = self.current
        if self.locked:
            if event.key not in ("escape", "ctrl+c", "f1"):
                event.stop()
            return
        if info is not None and (await self._key_editing(event, info) if self.entry else self._key(event, info)):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Pasted text goes into the field, or replaces the value."""
        info = self.current
        if info is None or self.locked or ladder.words(info) or not event.text.strip():
            return
        event.stop()
        if self.entry is None:
            self.begin_edit()
        self._type(event.text.strip())

    def _key(self, event: events.Key, info: SettingInfo) -> bool:
        key = event.key
        if key in MOVES:
            self.move(MOVES[key])
        elif key in STEPS:
            self.step(STEPS[key])
        elif key in ("pageup", "pagedown"):
            self.move((1 if key == "pagedown" else -1) * max(1, self.size.height - 4))
        elif key in ("home", "end"):
            self.move(len(settings()) * (1 if key == "end" else -1))
        elif key in ("tab", "shift+tab"):
            if self.move(1 if key == "tab" else -1):
                self.begin_edit()
        elif key == "space" and ladder.words(info):
            self.step(1)
        elif key in ("enter", "space"):
            self.begin_edit()
        elif key in ("delete", "backspace"):
            self.change(default_text(info))
            self.post_message(self.Settled())
        else:
            return self._begin_typing(event, info)
        return True

    def _begin_typing(self, event: events.Key, info: SettingInfo) -> bool:
        character = event.character
        # A slash looks for a setting, except where it is the beginning of a path; a question mark asks for help.
        if (
            not character
            or not event.is_printable
            or character == "?"
            or (character == "/" and info.kind not in PATH_KINDS)
        ):
            return False
        if ladder.words(info):
            self._pick(info, character)
        else:
            self.begin_edit()
            self._type(character)
        return True

    async def _key_editing(self, event: events.Key, info: SettingInfo) -> bool:
        entry, key = self.entry, event.key
        assert entry is not None
        words = ladder.words(info)
        if key == "escape":
            self._cancel()
        elif key == "enter":
            self.model.untold.discard(info.name)  # looked at, and found right
            self.end_edit()
        elif key == "tab" and await self._complete(entry):
            pass
        elif key in ("tab", "shift+tab"):
            self.end_edit()
            if self.move(1 if key == "tab" else -1):
                self.begin_edit()
        elif key in MOVES:
            self._key_up_down(MOVES[key], info)
        elif words:
            return self._key_word(event, info)
        elif entry.press(key):
            self.change(entry.text)
        elif event.character and event.is_printable:
            self._type(event.character)
        else:
            return False
        return True

    def _key_up_down(self, by: int, info: SettingInfo) -> None:
        """Up is more for numbers; in a list of words or candidates it is the one above; texts have nothing to step."""
        if self.entry is not None and self.entry.candidates:
            self._choose(by)
        elif ladder.rounds(info):
            self.step(by)
        elif info.ladder:
            self.step(-by)
        else:
            self.end_edit()
            self.move(by)

    def _key_word(self, event: events.Key, info: SettingInfo) -> bool:
        if event.key in STEPS or event.key == "space":
            self.step(STEPS.get(event.key, 1))
        elif event.character and event.is_printable:
            self._pick(info, event.character)
        else:
            return False
        return True

    # Editing.

    def begin_edit(self) -> None:
        """Edit the setting in focus, its value marked."""
        info = self.current
        if info is None or self.entry is not None or self.locked:
            return
        name = info.name
        self._before, self._was_untold = self.model.text(name), name in self.model.untold
        self.entry = Entry(
            self._before, kind=info.kind, selected=True, new=name == "output_dir", model=name == "base_model",
            names=info.suggestions if info.kind in PATH_KINDS else (),
        )  # fmt: skip
        self.renew()
        self.post_message(self.Moved())

    def end_edit(self) -> None:
        """Keep what was typed."""
        if self.entry is not None:
            self.entry = None
            self.renew()
            self.post_message(self.Settled())

    def step(self, by: int) -> None:
        """The next rung or word."""
        info = self.current
        stepped = ladder.step(info, self.model.text(info.name), by) if info is not None else None
        if stepped is not None:
            if self.entry is not None:
                self.entry.set(stepped, selected=True)
            self.change(stepped)

    def _cancel(self) -> None:
        self.entry = None
        self.change(self._before)
        if self._was_untold:
            self.model.untold.add(self._in_focus)
            self.renew()
        self.post_message(self.Settled())

    def _type(self, text: str) -> None:
        if self.entry is not None:
            self.entry.insert(text)
            self.change(self.entry.text)

    def _pick(self, info: SettingInfo, character: str) -> None:
        """The next word that begins with a letter."""
        words = ladder.words(info)
        now = self.model.text(info.name)
        place = words.index(now) if now in words else -1
        after = words[place + 1 :] + words[: place + 1]
        found = next((word for word in after if word.lower().startswith(character.lower())), None)
        if found is not None:
            self.change(found)

    async def _complete(self, entry: Entry) -> bool:
        if not await entry.complete():
            return False
        if self.entry is entry:
            self.change(entry.text)
            self._show_cursor()
        return True

    def _choose(self, by: int) -> None:
        if self.entry is not None and self.entry.choose(by):
            self.change(self.entry.text)
            self._show_cursor()

    def change(self, text: str) -> None:
        """A new value of the setting in focus."""
        self.model.set(self._in_focus, text)
        self.renew()
        self.post_message(self.Edited(self._in_focus))

"""The form of a run: settings at the left, what they come to at the right, one key to start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen

from engine.config import settings
from engine.text import clean
from tui import report
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.launch import greeting, ladder, side, undoing
from tui.launch.complete import PATH_KINDS
from tui.launch.files import Files
from tui.launch.form import SettingsList
from tui.launch.model import VIEWS, FormModel, default_text
from tui.launch.previewing import Previewing
from tui.launch.probe import Asked, Found, Probe
from tui.launch.rows import UNTOLD
from tui.launch.starter import Outcome, Starter
from tui.launch.undoing import Draft
from tui.launch.view import SettingsView
from tui.models.choosing import Choosing
from tui.screens.dialog import in_front
from tui.sheet.costs import Costs, CostsNews
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Lines

if TYPE_CHECKING:
    from tui.app import TunedeckApp

WIDE, HUGE = 104, 150
VIEW_WORDS = {"basic": "basic settings", "all": "all settings", "changed": "changed settings"}
WHILE_EDITING = frozenset({"done", "climb", "next", "take_back"})
WHILE_MOVING = frozenset({"edit", "step", "back", "default"})
LOOKED_AT = (
    "base_model",
    "train_path",
    "eval_path",
    "output_dir",
    "target_modules",
    "data_format",
    "data_fields",
    "on_bad_rows",
    "chat_template_path",
    "revision",
    "trust_remote_code",
    "worker_python",
)
# What was left unfinished in this session, by app and by what the form was opened with.
_drafts: WeakKeyDictionary[App[Any], dict[str, Draft]] = WeakKeyDictionary()


class LaunchScreen(Screen[None]):
    """Fill in, check, start. ``values`` are raw settings; ``title`` says where they came from.

    ``unknown`` are settings that the run they came from does not tell, ``remarks`` lines on single ones (``name: why``).
    """

    KEYS = "launch"
    CSS_PATH = "launch.tcss"
    BINDINGS = bindings("launch")
    AUTO_FOCUS = "SettingsList"

    class FilesSeen(Message):
        """The probe has an answer."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Read(Message):
        """So much of the data is read, of one."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    def __init__(
        self,
        values: dict[str, Any] | None = None,
        title: str = "",
        unknown: Iterable[str] = (),
        remarks: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.model = FormModel(values, unknown, remarks, clean(title, 100))
        self._origin = f"{self.model.title} {sorted((values or {}).items(), key=str)}"
        self._untouched = self.model.draft
        self._reading, self._read, self._asked_typing = True, 0.0, False
        self._files = Files(self)
        self._starter = Starter(self)
        self.previewing = Previewing(self)
        self.costs = Costs(self)
        self._choosing = Choosing(self)
        self._probe = Probe(lambda found: self._post(self.FilesSeen(found)), lambda share: self._post(self.Read(share)))

    def _post(self, message: Message) -> None:
        self.post_message(message)

    def compose(self) -> ComposeResult:
        """Bars, list, side pane, and the foot of small terminals."""
        yield TopBar(self.model.title or "New run")
        with Horizontal(id="launch-body"):
            yield SettingsList(self.model)
            yield Lines(id="launch-side")
        yield Lines(id="launch-foot")
        yield KeyBar()

    @property
    def list(self) -> SettingsList:
        """The settings."""
        return self.query_one(SettingsList)

    def on_mount(self) -> None:
        """Show the form, as it was left if it was; begin to look at the files behind it."""
        self._drafts = _drafts.setdefault(self.app, {})
        draft = self._drafts.get(self._origin)
        if draft is not None:
            self.model.resume(draft)
        self._probe.start()
        self._ask()
        wrong = self.model.wrong
        self.list.rebuild(wrong[0] if wrong else None)
        if wrong and self.model.problems[wrong[0]].kind == "missing-setting":
            self.list.begin_edit()
        for text, severity in greeting.words(self.model, resumed=draft is not None):
            report.tell(self.app, text, severity=severity)
        self._choosing.consent()

    def on_unmount(self) -> None:
        """Keep what was filled in for the next time."""
        self._probe.stop()
        self.costs.close()
        self.previewing.close()
        self._drafts.pop(self._origin, None)
        if not self._starter.started and self.model.draft != self._untouched:
            self._drafts[self._origin] = self.model.draft

    def on_resize(self, event: events.Resize) -> None:
        """The side pane needs room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.set_class(event.size.width >= HUGE, "-huge")
        self.call_after_refresh(self._show_side)

    # What is said.

    def _show_side(self) -> None:
        if not self.is_attached:  # left meanwhile
            return
        if not self.is_mounted:
            return
        self.costs.follow()
        now = side.Now(self._starter.busy, self._reading, self._read, self.costs.known)
        pane, foot = self.query_one("#launch-side", Lines), self.query_one("#launch-foot", Lines)
        info = self.list.current
        if self.has_class("-wide"):
            pane.show(side.pane(self.model, info, *pane.content_size, now))
        else:
            foot.show(side.foot(self.model, info, foot.content_size.width, now))
        changed = len(self.model.changed)
        words = [VIEW_WORDS[self.list.view], f"{changed} changed"] if changed else [VIEW_WORDS[self.list.view]]
        if self.model.untold:
            words.append(f"{len(self.model.untold)} not told {UNTOLD}")
        self.query_one(TopBar).set_right(f" {glyphs().dot} ".join(words))

    def show_again(self) -> None:
        """A value was changed from elsewhere."""
        self.list.post_message(SettingsList.Settled())
        self._show_side()

    def busy_changed(self) -> None:
        """A check or a start began or ended."""
        self.list.locked = bool(self._starter.busy)
        self.refresh_bindings()
        self._show_side()

    def took_over(self, text: str, *, warning: bool = False) -> None:
        """Many settings changed at once."""
        self.model.keep()
        self.query_one(TopBar).set_title(self.model.title or "New run")
        self.list.end_edit()
        self.list.rebuild()
        self._ask()
        self._show_side()
        report.tell(self.app, text, severity="warning" if warning else "information")
        self._choosing.consent()

    def show_wrong(self, text: str) -> None:
        """Say why something cannot be done, and go where the first reason is."""
        wrong = self.model.wrong
        if wrong:
            self.list.go(wrong[0])
        report.tell(self.app, text, severity="warning")

    def leave_for(self, path: Path) -> None:
        """The run has started: watch it instead."""
        app = cast("TunedeckApp", self.app)
        app.open_runs()
        app.open_watch(path)

    # Files behind the form.

    def _ask(self) -> None:
        self._reading, self._read = True, 0.0
        # A hub id that is still being typed is nothing to ask the hub about.
        info, entry = self.list.current, self.list.entry
        typing = entry is not None and info is not None and info.name in ("base_model", "revision")
        self._asked_typing = typing
        self._probe.ask(Asked(**{name: self.model.text(name) for name in LOOKED_AT}, settled=not typing))

    def look_again(self) -> None:
        """What lies behind the form may have changed."""
        self._ask()

    def on_launch_screen_read(self, message: LaunchScreen.Read) -> None:
        """The data take a while."""
        self._read = message.share
        self._show_side()

    def on_launch_screen_files_seen(self, message: LaunchScreen.FilesSeen) -> None:
        """News of the files behind the form."""
        found = message.found
        if any(self.model.text(name) != getattr(found.asked, name) for name in LOOKED_AT):
            return
        self._reading = False
        self.model.file_problems, self.model.train, self.model.eval = found.problems, found.train, found.eval
        self.model.leak, self.model.choices = found.leak, found.choices
        self.model.base, self.model.hub, self.model.asks_hub = found.model, found.hub, found.asking
        self._choosing.code_seen(found.code)
        self.list.renew()
        self._show_side()

    # Editing.

    def on_settings_view_moved(self, message: SettingsView.Moved) -> None:
        """Another setting is in focus."""
        self.refresh_bindings()
        self._show_side()

    def on_settings_list_edited(self, message: SettingsList.Edited) -> None:
        """A value changed; what was known of the file behind it is no longer true."""
        name = message.name
        if name in LOOKED_AT:
            self.model.file_problems.pop(name, None)
            self.model.leak = None
            if name in ("base_model", "revision"):
                self.model.file_problems.pop("chat_template_path", None)
                self.model.choices, self.model.base, self.model.hub = {}, None, None
            if name == "train_path" or name.startswith(("data_", "on_bad")):
                self.model.train = None
            if name == "eval_path" or name.startswith(("data_", "on_bad")):
                self.model.eval = None
            self._ask()
            self.list.renew()
        if self.list.entry is None:
            self.model.keep()
        self._show_side()
        self._choosing.consent()

    def on_settings_list_settled(self) -> None:
        """An edit is over: the output directory follows the model, and so does trust."""
        before = self.model.text("output_dir")
        if self.model.settle():
            report.tell(
                self.app, "trust_remote_code is off again: you had allowed another model's code", severity="warning"
            )
        self.model.keep()
        if self.model.text("output_dir") != before:
            self.model.file_problems.pop("output_dir", None)
            self._ask()
        elif self._asked_typing:
            self._ask()
        self.list.renew()
        self.refresh_bindings()
        self._show_side()

    def _end_edit(self) -> None:
        self.list.end_edit()
        self.on_settings_list_settled()  # now, not when the message arrives

    # Keys.

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys mean something now."""
        if not self.is_mounted or not self.query(SettingsList):
            return True
        settings_list = self.list
        info, editing = settings_list.current, settings_list.entry is not None
        if self._starter.busy:
            return action == "back" or action.startswith("app.")
        if action in ("climb", "step") and (info is None or not (info.ladder or ladder.rounds(info))):
            return False
        if action in WHILE_EDITING:
            return editing
        return not editing if action in WHILE_MOVING else True

    def action_back(self) -> None:
        """Give a check up; else go back, the form keeps what was typed."""
        if self._starter.busy:
            if self._starter.cancel():
                report.tell(self.app, "Nothing was started")
            return
        if in_front(self) and len(self.app.screen_stack) > 1:
            self.app.pop_screen()

    def action_edit(self) -> None:
        """Edit the setting in focus."""
        self.list.begin_edit()

    def action_default(self) -> None:
        """The setting in focus goes back to its default."""
        info = self.list.current
        if info is not None:
            self.list.change(default_text(info))

    def action_view(self) -> None:
        """Basic, all, only what was changed."""
        self.list.end_edit()
        self.list.view = VIEWS[(VIEWS.index(self.list.view) + 1) % len(VIEWS)]
        self.list.rebuild()

    def action_find(self) -> None:
        """Jump to a setting by its name or meaning."""
        from tui.launch.dialogs import PickScreen

        def answer(name: str | None) -> None:
            if name is not None:
                self.list.go(name)

        self.list.end_edit()
        options = [(info.name, info.name, info.help) for info in settings().values()]
        self.app.push_screen(PickScreen("Go to a setting", options), answer)

    def action_preview(self) -> None:
        """The rows as the model would read them."""
        if in_front(self):
            self.list.end_edit()
            self.costs.wake()
            self.previewing.open()

    def action_models(self) -> None:
        """Pick a model."""
        self._choosing.open()

    def action_sheet(self) -> None:
        """Everything that the run costs, and the dry run."""
        if in_front(self):
            self._end_edit()
            self.costs.open()

    def on_costs_news(self, message: CostsNews) -> None:
        """A thread has worked something out."""
        self.costs.take(message)

    def action_presets(self) -> None:
        """Take over the settings of a preset."""
        self._files.presets()

    def action_load(self) -> None:
        """Take over the settings of a YAML file."""
        self._files.load()

    def action_save(self) -> None:
        """Write the settings to a YAML file."""
        self.list.end_edit()
        self._files.save()

    def action_command(self) -> None:
        """The same run from the command line."""
        self._files.command()

    def action_clear(self) -> None:
        """All settings back to their defaults."""
        self._end_edit()
        self.model.clear()
        self.took_over("All settings are at their defaults. F9 undoes it")

    def action_undo(self) -> None:
        """Back to before the last change; an edit that goes on is one."""
        self._end_edit()
        turn = self.model.undo()
        if turn is None:
            report.tell(self.app, "Nothing was changed here that could be taken back")
        else:
            self.took_over(undoing.words(turn))
            if len(turn.names) == 1:
                self.list.go(turn.names[0])

    def action_start(self) -> None:
        """Check everything, then start the run; a second press while that goes on does nothing."""
        if self._starter.busy or self._starter.started:
            return
        self._end_edit()
        wrong = self.model.wrong
        if wrong or self.model.config is None:
            info = settings()[wrong[0]]
            self.list.go(wrong[0], edit=info.kind in PATH_KINDS and not info.suggestions)
            return
        self._starter.check(self.model.config, self.model.gpu_count)

    def on_outcome(self, outcome: Outcome) -> None:
        """A check or a start is done."""
        self._starter.take(outcome)

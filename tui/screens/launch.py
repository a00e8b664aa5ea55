"""The form of a run: settings at the left, what they mean at the right, one key to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from textual import events, work
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input

from engine.config import settings, yaml_file
from engine.errors import Problem, TunedeckError
from engine.text import clean, shorten_path
from tui import report
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.launch import side
from tui.launch.complete import complete
from tui.launch.editor import ValueEditor
from tui.launch.form import SettingsList
from tui.launch.model import CONSENT, VIEWS, FormModel, cycle_words, values_to_keep
from tui.launch.probe import Asked, Found, Probe
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from engine.config import RunConfig, SettingInfo
    from engine.preflight import Preflight
    from tui.app import TunedeckApp

WIDE, HUGE = 110, 150
PATHS = ("path", "directory")
# The form that was left without starting, for when it is opened empty again in this session.
_left: dict[str, Any] | None = None


class LaunchScreen(Screen[None]):
    """Fill in, check, start. ``values`` are raw settings; ``title`` says where they came from."""

    KEYS = "launch"
    CSS_PATH = "launch.tcss"
    BINDINGS = bindings("launch")
    AUTO_FOCUS = "SettingsList"

    class FilesSeen(Message):
        """The probe has an answer."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    def __init__(self, values: dict[str, Any] | None = None, title: str = "") -> None:
        super().__init__()
        self._resumed = values is None and bool(_left)
        self.model = FormModel(_left if values is None else values)
        self._title = clean(title, 100)
        self._editing: SettingInfo | None = None
        self._before: Any = None
        self._candidates: tuple[str, ...] = ()
        self._busy = ""
        self._checking = True
        self._probe = Probe(self._seen)

    def compose(self) -> ComposeResult:
        """Bars, list, side pane, foot, and the field over the list."""
        yield TopBar(self._title or "New run")
        with Horizontal(id="body"):
            yield SettingsList(self.model)
            yield Lines(id="side")
        yield Lines(id="foot")
        yield ValueEditor()
        yield KeyBar()

    @property
    def list(self) -> SettingsList:
        """The settings."""
        return self.query_one(SettingsList)

    @property
    def editor(self) -> ValueEditor:
        """The field."""
        return self.query_one(ValueEditor)

    def on_mount(self) -> None:
        """Show the form; begin to look at the files behind it."""
        self._probe.start()
        self._ask()
        first = next((n for n in self.model.wrong), None)
        self.list.rebuild(keep=first)
        if self.model.unknown:
            names = ", ".join(clean(name, 40) for name in self.model.unknown)
            report.tell(self.app, f"Left out, since there are no such settings here: {names}", severity="warning")
        if self._resumed:
            report.tell(self.app, "The form is as you left it; F8 empties it")

    def on_unmount(self) -> None:
        """Keep what was filled in for the next time."""
        global _left
        self._probe.stop()
        _left = values_to_keep(self.model) if not self._busy else None

    def on_resize(self, event: events.Resize) -> None:
        """The side pane needs room."""
        self.set_class(event.size.width >= WIDE, "wide")
        self.set_class(event.size.width >= HUGE, "huge")
        if self._editing is not None:
            self._finish(0)
        self.call_after_refresh(self._show_side)

    # -- what is said --------------------------------------------------------------------------------------------------

    def _renew(self) -> None:
        """After a value changed."""
        self.list.renew()
        self._show_side()

    def _show_side(self) -> None:
        if not self.is_mounted:
            return
        pane, foot = self.query_one("#side", Lines), self.query_one("#foot", Lines)
        info = self.list.current
        checking = self._checking
        hint: Line = self._hint()
        if self.has_class("wide"):
            width, height = pane.size.width, pane.size.height
            lines: list[Line] = side.help_lines(self.model, info, width) if info else []
            rule: Line = [(glyphs().rule * width, "rule")]
            come_to = side.consequence_lines(self.model, checking=checking)
            lines += [[], rule, *come_to, [], rule]
            room = max(2, height - len(lines) - 1)
            pane.show([*lines, *side.verdict_lines(self.model, width, busy=self._busy, room=room)])
            foot.show([hint])
            return
        width = foot.size.width
        status = side.status_line(self.model, width, busy=self._busy, checking=checking)
        about: Line = [(clean(info.help, 300), "muted")] if info else []
        foot.show([[(glyphs().rule * width, "rule")], hint if self._editing or self._candidates else about, status])

    def _hint(self) -> Line:
        """What the next key does, for the setting in focus."""
        info = self._editing or self.list.current
        if self._candidates:
            return [(clean("  ".join(self._candidates[:30]), 400), "muted")]
        if info is None:
            return []
        keys: list[tuple[str, str]]
        if self._editing is not None:
            keys = [(glyphs().enter, "done"), ("esc", "undo")]
            if info.kind in PATHS:
                keys.insert(1, ("tab", "complete"))
            elif info.ladder or info.suggestions:
                keys.insert(1, (f"{glyphs().up}{glyphs().down}", "next sensible value"))
        elif cycle_words(info):
            keys = [(glyphs().enter, "next"), (f"{glyphs().left}{glyphs().right}", "choose"), ("del", "default")]
        else:
            keys = [(glyphs().enter, "edit"), ("type", "to replace")]
            if info.ladder:
                keys.append((f"{glyphs().left}{glyphs().right}", "step"))
            keys.append(("del", "default"))
        return [part for key, label in keys for part in ((f"{key} ", "key"), (f"{label}   ", "muted"))]

    # -- files ---------------------------------------------------------------------------------------------------------

    def _seen(self, found: Found) -> None:
        self.post_message(self.FilesSeen(found))

    def _ask(self) -> None:
        text = self.model.text
        self._checking = True
        self._probe.ask(Asked(text("base_model"), text("train_path"), text("eval_path"), text("output_dir")))

    def on_launch_screen_files_seen(self, message: LaunchScreen.FilesSeen) -> None:
        """News of the files behind the form."""
        model, found = self.model, message.found
        self._checking = False
        if model.file_problems != found.problems or (model.rows, model.eval_rows) != (found.rows, found.eval_rows):
            model.file_problems, model.rows, model.eval_rows = found.problems, found.rows, found.eval_rows
        self._renew()

    # -- editing -------------------------------------------------------------------------------------------------------

    def on_settings_list_moved(self) -> None:
        """Another setting is in focus."""
        self._candidates = ()
        self._show_side()

    def on_settings_list_typed(self, message: SettingsList.Typed) -> None:
        """Typing replaces the value; on a choice it picks the word that begins so."""
        info = self.list.current
        if info is None:
            return
        words = cycle_words(info)
        if words:
            fitting = next((word for word in words if word.startswith(message.character.lower())), None)
            if fitting is not None:
                self._set(info.name, fitting)
            return
        self._begin(info, message.character)

    def on_settings_list_pressed(self) -> None:
        """A click on the setting in focus."""
        self.action_edit()

    def action_edit(self) -> None:
        """Enter: edit a text, or take the next word of a choice."""
        info = self.list.current
        if info is None:
            return
        if cycle_words(info):
            self.action_step(1)
        else:
            self._begin(info, self.model.text(info.name))

    def action_step(self, direction: int) -> None:
        """Left or right: the next rung or word."""
        info = self.list.current
        if info is None:
            return
        stepped = self.model.stepped(info.name, direction)
        if stepped is not None:
            self._set(info.name, stepped)

    def action_default(self) -> None:
        """The setting in focus goes back to its default."""
        if self.list.current is not None:
            self._set(self.list.current.name, self.list.current.default)

    def action_next(self, by: int) -> None:
        """Tab: the next setting."""
        self.list.action_move(by)

    def _begin(self, info: SettingInfo, text: str) -> None:
        column, row, width = self.list.place_of_value()
        origin = self.list.region
        editor = self.editor
        self._editing, self._before = info, self.model.values[info.name]
        editor.styles.offset = (origin.x + column, origin.y + row)
        editor.styles.width = min(width, self.size.width - origin.x - column)
        with editor.prevent(Input.Changed):
            editor.value = text
        editor.cursor_position = len(text)
        editor.add_class("-editing")
        editor.focus()
        if text != self.model.text(info.name):
            self._typed(text)
        self._show_side()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Check as one types."""
        if event.input is self.editor and self._editing is not None:
            self._candidates = ()
            self._typed(event.value)

    def _typed(self, text: str) -> None:
        if self._editing is None:
            return
        self.model.set(self._editing.name, text)
        self._after_change(self._editing.name)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: done, on to the next setting."""
        if event.input is self.editor:
            self._finish(1)

    def on_value_editor_stepped(self, message: ValueEditor.Stepped) -> None:
        """Up and down: the ladder; where there is none, the setting above or below."""
        if self._editing is None:
            return
        stepped = self.model.stepped(self._editing.name, message.direction, self.editor.value.strip())
        if stepped is not None:
            self.editor.value = stepped
            self.editor.cursor_position = len(stepped)
        elif not self._editing.ladder:
            self._finish(-message.direction)

    def on_value_editor_tabbed(self) -> None:
        """Complete a path; with nothing to complete, go on."""
        info = self._editing
        if info is None:
            return
        if info.kind in PATHS and self.editor.value.strip():
            done = complete(self.editor.value, directories_only=info.kind == "directory")
            if done.moved(self.editor.value):
                self.editor.value = done.text
                self.editor.cursor_position = len(done.text)
                self.call_after_refresh(self._offer, done.candidates)
                return
            if done.candidates and not self._candidates:
                self._offer(done.candidates)
                return
        self._finish(1)

    def _offer(self, candidates: tuple[str, ...]) -> None:
        self._candidates = candidates
        self._show_side()

    def on_value_editor_left(self, message: ValueEditor.Left) -> None:
        """Shift-Tab."""
        self._finish(message.by)

    def on_value_editor_cancelled(self) -> None:
        """Escape: the old value."""
        if self._editing is not None:
            name, self._candidates = self._editing.name, ()
            self.model.set(name, self._before)
            self._finish(0)
            self._after_change(name)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """A click elsewhere ends the edit."""
        if event.widget is self.editor and self._editing is not None:
            self._finish(0)

    def _finish(self, by: int) -> None:
        self._editing, self._candidates = None, ()
        self.editor.remove_class("-editing")
        self.list.focus()
        if by:
            self.list.action_move(by)
        self._renew()

    def _set(self, name: str, value: Any) -> None:
        if name == CONSENT[0] and str(value).lower() == "true" and self.model.text(name) != "true":
            from tui.launch.dialogs import ConsentScreen

            def answer(agreed: bool | None) -> None:
                if agreed:
                    self.model.set(name, True)
                    self._after_change(name)

            self.app.push_screen(ConsentScreen(CONSENT[1], self.model.text("base_model")), answer)
            return
        self.model.set(name, value)
        self._after_change(name)

    def _after_change(self, name: str) -> None:
        if settings()[name].kind in PATHS:
            self.model.file_problems.pop(name, None)
            if name == "base_model":
                self.model.file_problems.pop("output_dir", None)
            if name in ("train_path", "eval_path"):
                self.model.rows = None if name == "train_path" else self.model.rows
                self.model.eval_rows = None if name == "eval_path" else self.model.eval_rows
            self._ask()
        self._renew()

    # -- views, presets, files -----------------------------------------------------------------------------------------

    def action_view(self) -> None:
        """Basic, all, only what was changed."""
        self.list.view = VIEWS[(VIEWS.index(self.list.view) + 1) % len(VIEWS)]
        self.list.rebuild()
        words = {"basic": "basic settings", "all": "all settings", "changed": "only what I changed"}
        self.query_one(TopBar).set_right(words[self.list.view])

    def action_find(self) -> None:
        """Jump to a setting by its name or meaning."""
        from tui.launch.dialogs import PickScreen

        options = [(info.name, info.name, info.help) for info in settings().values()]
        self.app.push_screen(PickScreen("Go to which setting?", options), self._go)

    def _go(self, name: str | None) -> None:
        if name is None:
            return
        if not self.list.go(name):
            self.list.view = "all"
            self.query_one(TopBar).set_right("all settings")
            self.list.rebuild(keep=name)
        self._show_side()

    def action_presets(self) -> None:
        """Take the settings of a preset over the present ones."""
        from engine.presets import available
        from tui.launch.dialogs import PickScreen

        found = {str(preset.path): preset for preset in available()}
        options = [(key, preset.name, preset.summary) for key, preset in found.items()]

        def answer(key: str | None) -> None:
            if key is not None:
                self._load(found[key].path, f"Preset {clean(found[key].name, 60)}")

        self.app.push_screen(PickScreen("Which preset?", options), answer)

    def action_load(self) -> None:
        """Take the settings of a YAML file over the present ones."""
        from tui.launch.dialogs import PathScreen

        def answer(text: str | None) -> None:
            if text:
                self._load(Path(text).expanduser(), clean(Path(text).name, 60))

        self.app.push_screen(PathScreen("Load settings from which YAML file?"), answer)

    def _load(self, path: Path, what: str) -> None:
        try:
            values = yaml_file.load(path)
        except TunedeckError as error:
            report.show_problems(self.app, error.problems, "Nothing was loaded")
            return
        unknown = [name for name in values if name not in settings()]
        wants_code = str(values.get(CONSENT[0], "")).lower() in ("true", "yes", "on", "1")
        if wants_code:
            values.pop(CONSENT[0])
        self.model.load(values)
        self._ask()
        self.list.rebuild()
        self._renew()
        said = f"{what}: {len(values) - len(unknown)} settings taken over"
        if unknown:
            said += f"; unknown and left out: {', '.join(clean(name, 40) for name in unknown)}"
        report.tell(self.app, said, severity="warning" if unknown else "information")
        if wants_code:
            self._set(CONSENT[0], True)

    def action_save(self) -> None:
        """Write the settings to a YAML file."""
        from tui.launch.dialogs import PathScreen

        if self.model.config is None:
            report.tell(self.app, "Only settings that are right can be saved", severity="warning")
            self._go(self.model.wrong[0] if self.model.wrong else None)
            return
        config = self.model.config

        def answer(text: str | None) -> None:
            if text:
                self._save(config, Path(text).expanduser())

        name = f"{Path(config.output_dir).name or 'run'}.yaml"
        detail = "A YAML file starts the same run again: tunedeck train --config FILE"
        self.app.push_screen(PathScreen("Save the settings to which file?", name, detail), answer)

    def _save(self, config: RunConfig, path: Path, *, overwrite: bool = False) -> None:
        if path.exists() and not overwrite:
            from tui.screens.confirm import ConfirmScreen

            def answer(yes: bool | None) -> None:
                if yes:
                    self._save(config, path, overwrite=True)

            self.app.push_screen(
                ConfirmScreen(f"Overwrite {shorten_path(path, 50)}?", "", "overwrite", "keep it"), answer
            )
            return
        try:
            path.write_text(yaml_file.dumps(config, header="Settings of a tunedeck run"), encoding="utf-8")
        except OSError as error:
            problem = Problem(
                "unwritable", f"cannot be written: {error.strerror}", "Choose another path", file=str(path)
            )
            report.show_problems(self.app, [problem], "Nothing was saved")
            return
        report.tell(self.app, f"Saved to {shorten_path(path, 60)}")

    def action_command(self) -> None:
        """The same run from the command line."""
        command = self.model.command
        if command is None:
            report.tell(self.app, "The command is known once the settings are right", severity="warning")
            return
        from tui.launch.dialogs import CommandScreen

        self.app.push_screen(CommandScreen(command))

    def action_clear(self) -> None:
        """All settings back to their defaults."""
        self.model = FormModel()
        self.list.model = self.model
        self.query_one(TopBar).set_title("New run")
        self._ask()
        self.list.rebuild()
        self._renew()

    # -- start ---------------------------------------------------------------------------------------------------------

    def action_start(self) -> None:
        """Check everything, then start the run; a second press while that goes on does nothing."""
        if self._busy:
            return
        if self._editing is not None:
            self._finish(0)
        config = self.model.config
        if config is None:
            wrong = self.model.wrong
            report.tell(self.app, f"Not yet: {wrong[0]} {self.model.problems[wrong[0]].message}", severity="warning")
            self._go(wrong[0])
            return
        self._say_busy("Checking model, data and output directory…")
        self._check(config)

    @work(thread=True, exclusive=True, group="launch")
    def _check(self, config: RunConfig) -> None:
        from engine.preflight import check

        self._from_thread(lambda: check(config), lambda result: self._checked(config, result))

    def _checked(self, config: RunConfig, result: Preflight) -> None:
        from tui.screens.problems import ProblemsScreen

        if not result.ok:
            self._say_busy("")
            settings_wrong = [p.setting for p in result.errors if p.setting]
            self.app.push_screen(ProblemsScreen([*result.errors, *result.warnings], "Nothing was started"),
                                 lambda _: self._go(settings_wrong[0] if settings_wrong else None))  # fmt: skip
            return
        if not result.warnings:
            self._start(config, result)
            return
        from tui.screens.confirm import ConfirmScreen

        def answer(yes: bool | None) -> None:
            if yes:
                self._start(config, result)
            else:
                self._say_busy("")

        text = "\n".join(str(warning) for warning in result.warnings)
        self.app.push_screen(ConfirmScreen("Start all the same?", text, "start", "not yet"), answer)

    def _start(self, config: RunConfig, checked: Preflight) -> None:
        self._say_busy("Starting…")
        self._launch(config, checked)

    @work(thread=True, exclusive=True, group="launch")
    def _launch(self, config: RunConfig, checked: Preflight) -> None:
        from engine import launchers

        self._from_thread(lambda: launchers.launch(config, checked=checked), lambda run: self._started(run.path))

    def _started(self, path: Path) -> None:
        global _left
        app = cast("TunedeckApp", self.app)
        app.open_runs()
        _left = None
        app.open_watch(path)

    def _from_thread(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do work in this thread, and go on with its result on the app's."""
        try:
            result = work()
        except TunedeckError as error:
            self.app.call_from_thread(self._refused, error)
            return
        self.app.call_from_thread(then, result)

    def _refused(self, error: TunedeckError) -> None:
        self._say_busy("")
        report.show_problems(self.app, error.problems, "Nothing was started")

    def _say_busy(self, text: str) -> None:
        self._busy = text
        self._show_side()

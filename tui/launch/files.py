"""Settings from presets and YAML files, to YAML files, and as a command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config import settings
from engine.errors import TunedeckError
from engine.text import clean, shorten_path
from tui import report

if TYPE_CHECKING:
    from tui.screens.launch import LaunchScreen


class Files:
    """What the form's file keys do; results go back to the screen."""

    def __init__(self, screen: LaunchScreen) -> None:
        self._screen = screen

    def presets(self) -> None:
        """Choose one, take its settings over the present ones."""
        from engine.presets import available
        from tui.launch.dialogs import PickScreen

        found = {str(preset.path): preset for preset in available()}
        options = [(key, preset.name, preset.summary) for key, preset in found.items()]

        def answer(key: str | None) -> None:
            if key is not None:
                wrong = self._load(found[key].path, f"Preset {clean(found[key].name, 60)}")
                if wrong:
                    report.tell(self._screen.app, wrong, severity="error")

        self._screen.app.push_screen(PickScreen("Presets", options), answer)

    def load(self) -> None:
        """Ask for a YAML file, take its settings over the present ones."""
        from tui.launch.dialogs import PathScreen

        dialog = PathScreen("Load settings from a YAML file", lambda path: self._load(path, clean(path.name, 60)))
        self._screen.app.push_screen(dialog)

    def _load(self, path: Path, what: str) -> str:
        """Load a file; what went wrong in words, empty if nothing."""
        from engine.config import yaml_file

        try:
            values: dict[str, Any] = yaml_file.load(path)
        except TunedeckError as error:
            return str(error.problems[0])
        model = self._screen.model
        before = dict(model.texts)
        model.load(values)
        new = sum(text != before[name] for name, text in model.texts.items())
        said = f"{what}: {len(values) - len(model.unknown)} settings, {new} of them new here"
        if model.unknown:
            said += f"; no such settings, left out: {', '.join(clean(name, 40) for name in model.unknown)}"
        self._screen.took_over(f"{said}. F9 undoes it", warning=bool(model.unknown))
        return ""

    def save(self) -> None:
        """Ask for a path, write the settings there."""
        from tui.launch.dialogs import SaveScreen

        model = self._screen.model
        name = Path(model.text("output_dir").strip()).name or "run"

        def attempt(path: Path) -> str:
            if path.is_dir():
                return "That is a directory; name a file in it"
            if not path.parent.is_dir():
                return "There is no such directory"
            if path.exists() and path not in agreed:
                agreed.append(path)
                self._ask_overwrite(path, dialog.on_text_field_submitted, agreed.clear)
                return "It is there already"
            return self._write(path, dialog.only_changed)

        agreed: list[Path] = []
        dialog = SaveScreen(attempt, text=f"{name}.yaml", total=len(settings()), changed=len(model.changed))
        self._screen.app.push_screen(dialog)

    def _ask_overwrite(self, path: Path, then: Callable[[], None], otherwise: Callable[[], None]) -> None:
        from tui.screens.confirm import ConfirmScreen

        def answer(yes: bool | None) -> None:
            (then if yes else otherwise)()

        question = ConfirmScreen(
            f"Overwrite {shorten_path(path, 50)}?", "What is in it now is lost.", "Overwrite", "Keep it"
        )
        self._screen.app.push_screen(question, answer)

    def _write(self, path: Path, only_changed: bool) -> str:
        try:
            path.write_text(self._screen.model.yaml(only_changed=only_changed), encoding="utf-8")
        except UnicodeEncodeError:
            return "A value holds bytes that are no text; YAML cannot keep them"
        except OSError as error:
            return f"It cannot be written: {error.strerror}"
        report.tell(self._screen.app, f"Saved to {shorten_path(path, 60)}")
        return ""

    def command(self) -> None:
        """The same run from the command line."""
        from tui.launch.dialogs import CommandScreen

        command = self._screen.model.command
        if command is None:
            self._screen.show_wrong("The command is known once the settings are right")
            return
        self._screen.app.push_screen(CommandScreen(command))

"""The form without a screen: raw values, what is wrong with them, and what changes when a key is pressed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.config import AUTO, GROUPS, RunConfig, SettingInfo, check, settings
from engine.config.flags import command_line, format_value
from engine.errors import Problem
from engine.preflight import Plan, plan, propose_output_dir

VIEWS = ("basic", "all", "changed")
# Only a deliberate word lets a model's own code run.
CONSENT = ("trust_remote_code", "trust")


class FormModel:
    """Values as they were typed or loaded; checked after every change."""

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self.values: dict[str, Any] = {name: info.default for name, info in settings().items()}
        self.unknown: dict[str, Any] = {}
        self._own_output = False
        # What was found out about the files behind the values, by setting; see tui.launch.probe.
        self.file_problems: dict[str, Problem] = {}
        self.rows: int | None = None
        self.eval_rows: int | None = None
        self.config: RunConfig | None = None
        self.problems: dict[str, Problem] = {}
        self.load(values or {})

    # -- values --------------------------------------------------------------------------------------------------------

    def load(self, values: Mapping[str, Any]) -> None:
        """Take raw values over the present ones; names that are no settings are kept aside as :attr:`unknown`."""
        for name, value in values.items():
            if name in settings():
                self.values[name] = value
                self._own_output |= name == "output_dir" and bool(value)
            else:
                self.unknown[name] = value
        self._follow_model()
        self.review()

    def set(self, name: str, value: Any) -> None:
        """Change one value; an emptied optional or required one is unset."""
        if isinstance(value, str) and not value.strip() and (settings()[name].optional or settings()[name].required):
            value = None
        self.values[name] = value
        if name == "output_dir":
            self._own_output = value is not None
        if name in ("base_model", "output_dir"):
            self._follow_model()
        self.review()

    def reset(self, name: str) -> None:
        """Back to the default."""
        self.set(name, settings()[name].default)

    def text(self, name: str) -> str:
        """The value as one would type it; empty if unset."""
        value = self.values[name]
        return "" if value is None else format_value(value)

    def is_changed(self, name: str) -> bool:
        """Whether a value differs from its default; a proposed output directory does not count."""
        if name == "output_dir":
            return self._own_output
        default = settings()[name].default
        return self.text(name) != ("" if default is None else format_value(default))

    def _follow_model(self) -> None:
        """Propose an output directory named after the model until the person gives one."""
        if not self._own_output:
            model = self.text("base_model")
            try:
                self.values["output_dir"] = str(propose_output_dir(model)) if model.strip() else None
            except (OSError, ValueError):
                self.values["output_dir"] = None

    # -- checks --------------------------------------------------------------------------------------------------------

    def review(self) -> None:
        """Check all values; afterwards :attr:`problems` has one problem a setting and :attr:`config` is valid or None."""
        given = {name: value for name, value in self.values.items() if value is not None or settings()[name].required}
        self.config, found = check({name: value for name, value in given.items() if value is not None})
        self.problems = {}
        for problem in found:
            if problem.setting is not None:
                self.problems.setdefault(problem.setting, problem)

    def problem(self, name: str) -> Problem | None:
        """What is wrong with a setting: its value, or the file behind it."""
        return self.problems.get(name) or self.file_problems.get(name)

    @property
    def wrong(self) -> list[str]:
        """Names of the settings that keep the run from starting, in the form's order."""
        return [name for name in settings() if self.problem(name) is not None]

    @property
    def plan(self) -> Plan | None:
        """Steps and samples, as far as the data are known."""
        if self.config is None or self.rows is None:
            return None
        gpus = len(self.config.gpus) if isinstance(self.config.gpus, list) else 1
        return plan(self.config, self.rows, self.eval_rows or 0, gpus)

    @property
    def command(self) -> str | None:
        """The exact command line, once the values are valid."""
        return None if self.config is None else command_line(self.config)

    # -- stepping ------------------------------------------------------------------------------------------------------

    def stepped(self, name: str, direction: int, current: str | None = None) -> str | None:
        """The next text up (1) or down (-1): a rung of the ladder, or the next word; ``None`` if there is none.

        A number between rungs goes to the next rung in that direction. ``current`` is a text being edited.
        """
        info = settings()[name]
        text = self.text(name) if current is None else current
        words = cycle_words(info)
        if words:
            place = words.index(text) if text in words else -1
            return words[(place + direction) % len(words)] if place >= 0 else words[0]
        if info.suggestions and info.kind == "list":
            options = list(info.suggestions)
            place = options.index(text) if text in options else -1
            return options[(place + direction) % len(options)]
        return _rung(info, text, direction)

    def visible(self, view: str) -> Iterator[tuple[str, list[SettingInfo]]]:
        """Groups with the settings that a view shows; wrong ones are always shown."""
        for group in GROUPS:
            shown = [info for info in settings().values() if info.group == group and self._shows(info, view)]
            if shown:
                yield group, shown

    def _shows(self, info: SettingInfo, view: str) -> bool:
        if view == "all" or self.problem(info.name) is not None:
            return True
        if view == "changed":
            return self.is_changed(info.name) or info.required
        return info.basic or self.is_changed(info.name)


def cycle_words(info: SettingInfo) -> list[str]:
    """The words a setting goes through, empty if it takes anything else."""
    if info.kind == "choice":
        return list(info.choices)
    if info.kind == "flag":
        return [*([AUTO] if info.allows_auto else []), "true", "false"]
    return []


def _rung(info: SettingInfo, text: str, direction: int) -> str | None:
    if not info.ladder:
        return None
    rungs = sorted(info.ladder)
    try:
        value = float(text)
    except ValueError:
        return format_value(_typed(info, rungs[0] if direction > 0 else rungs[-1]))
    margin = 1e-9 * max(1e-12, abs(value))
    if direction > 0:
        beyond = next((rung for rung in rungs if rung > value + margin), None)
    else:
        beyond = next((rung for rung in reversed(rungs) if rung < value - margin), None)
    return None if beyond is None else format_value(_typed(info, beyond))


def _typed(info: SettingInfo, rung: float) -> float | int:
    return int(rung) if info.kind == "integer" else rung


def values_to_keep(model: FormModel) -> dict[str, Any]:
    """What to fill in when the form is opened again: everything but a proposed directory."""
    kept = {name: value for name, value in model.values.items() if model.is_changed(name)}
    return kept


def local_path(text: str) -> Path:
    """The file a path field means."""
    return Path(text).expanduser()

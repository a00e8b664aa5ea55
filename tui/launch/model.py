"""The form without a screen: texts as they were typed or loaded, what is wrong with them, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.config import GROUPS, RunConfig, SettingInfo, check, settings, yaml_file
from engine.config.flags import command_line, format_value
from engine.data import DataReport, Tally
from engine.errors import Problem
from engine.preflight import Plan, plan, propose_output_dir, samples, updates
from tui.launch import ladder
from tui.launch.templates import Choice
from tui.launch.undoing import Draft, States, Turn

if TYPE_CHECKING:
    from engine.models.catalogue import Model
    from engine.models.hub import HubAnswer

VIEWS = ("basic", "all", "changed")
# Only a deliberate word lets a model's own code run.
TRUST, TRUST_WORD = "trust_remote_code", "trust"
# Settings without which steps and samples cannot be counted.
COUNTED = ("batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps", "warmup_ratio", "save_steps",
           "eval_steps", "eval_fraction", "gpus", "num_gpus", "keep_samples_per_update")  # fmt: skip


class FormModel:
    """The texts of all settings, checked after every change.

    ``base`` and ``hub`` are what is known of the model (``asks_hub``: soon more). ``problems`` holds one problem for each
    wrong setting, ``config`` the valid configuration or ``None``;
    ``file_problems``, ``train``, ``eval`` and ``leak`` are what :mod:`tui.launch.probe` found behind the paths. ``untold`` are
    settings that the run these values come from does not tell, until somebody decides on them; ``remarks`` says more of
    single ones. ``title`` says where the values come from.
    """

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        untold: Iterable[str] = (),
        remarks: Iterable[str] = (),
        title: str = "",
    ) -> None:
        self.title = title
        self.texts = {name: default_text(info) for name, info in settings().items()}
        self.unknown: list[str] = []
        self.asks_consent = False
        self.file_problems: dict[str, Problem] = {}
        self.train: DataReport | None = None
        self.eval: DataReport | None = None
        self.leak: Tally | None = None
        # What single values of a setting mean for the model that is filled in, the best first.
        self.choices: dict[str, dict[str, Choice]] = {}
        self.config: RunConfig | None = None
        self.problems: dict[str, Problem] = {}
        self._own_output = False
        # Whose code may run: model, revision, and the SHA-256 of the code (empty: it brings none).
        self._trusted: tuple[str, str, str] | None = None
        self.base: Model | None = None
        self.hub: HubAnswer | None = None
        self.asks_hub = False
        self.untold: set[str] = set()
        self.remarks = dict(remark.split(": ", 1) for remark in remarks if ": " in remark)
        self._states = States(self.draft)
        self.load(values or {})
        self.untold = {name for name in untold if name in settings()}
        self._states = States(self.draft)

    # Values.

    def text(self, name: str) -> str:
        """The value as it was typed; empty if unset. Not cleaned."""
        return self.texts[name]

    def info(self, name: str) -> SettingInfo | None:
        """A setting's description, with what is suggested for this model."""
        info, found = settings().get(name), self.choices.get(name)
        if info is None or not found:
            return info
        return replace(info, suggestions=tuple(value for value in found if value))

    def choice(self, name: str) -> Choice | None:
        """What the present value of a setting means for this model, if that is known."""
        return self.choices.get(name, {}).get(self.texts[name].strip())

    def set(self, name: str, text: str) -> None:
        """Change one value. Trust in a model's code is only asked for here, see :meth:`grant`."""
        if name == TRUST and _is_true(text) and not _is_true(self.texts[TRUST]):
            self.asks_consent = True
            return
        self.texts[name] = text
        self.untold.discard(name)
        if name == "output_dir":
            self._own_output = bool(text.strip())
        self.review()

    def settle(self) -> bool:
        """An edit is over: propose an output directory for the model; whether trust in other code ended."""
        if not self._own_output:
            self.texts["output_dir"] = _proposal(self.texts["base_model"])
        ended = _is_true(self.texts[TRUST]) and (self._trusted is None or self._trusted[:2] != self._which)
        if ended:
            self.texts[TRUST] = "false"
        self.review()
        return ended

    def code_seen(self, sha256: str) -> bool:
        """The model brings this code now (empty: none); whether trust ended, since it was in other code."""
        ended = _is_true(self.texts[TRUST]) and self._trusted is not None and self._trusted[2] != sha256
        if ended:
            self.texts[TRUST] = "false"
            self.review()
        return ended

    @property
    def _which(self) -> tuple[str, str]:
        return self.texts["base_model"].strip(), self.texts["revision"].strip()

    def grant(self, sha256: str = "") -> None:
        """The person consents to this code of the model at this revision; empty: it brings none."""
        self.texts[TRUST], self._trusted = "true", (*self._which, sha256)
        self.untold.discard(TRUST)
        self.asks_consent = False
        self.review()

    def load(self, values: Mapping[str, Any]) -> None:
        """Take raw values over the present ones; names that are no settings go to :attr:`unknown`."""
        self._states.amend(self.draft)
        known = {name: value for name, value in values.items() if name in settings()}
        self.unknown = [str(name) for name in values if name not in known]
        self.untold -= set(known)
        for name, value in known.items():
            text = "" if value is None else format_value(value, settings()[name].kind)
            if name == TRUST and _is_true(text):
                self.asks_consent = not _is_true(self.texts[TRUST])
                continue
            self.texts[name] = text
            if name == "output_dir":
                self._own_output = bool(text.strip())
        self.settle()

    def clear(self) -> None:
        """All settings back to their defaults."""
        self._states.amend(self.draft)
        self.texts = {name: default_text(info) for name, info in settings().items()}
        self._own_output, self._trusted, self.unknown, self.untold, self.title = False, None, [], set(), ""
        self.settle()

    def keep(self) -> None:
        """A change is over: :meth:`undo` can go back to before it."""
        self._states.keep(self.draft)

    def undo(self) -> Turn | None:
        """Back to before the last change; from the first one forth to the newest again; ``None`` if nothing was changed."""
        self.keep()
        turn = self._states.turn()
        if turn is not None:
            self.restore(turn.now)
            self._states.amend(self.draft)
        return turn

    @property
    def draft(self) -> Draft:
        """The present state."""
        return Draft(dict(self.texts), self._own_output, self._trusted, frozenset(self.untold), self.title)

    def restore(self, draft: Draft) -> None:
        """Take up an earlier state; a proposed output directory is proposed anew."""
        self.texts, self._own_output, self._trusted = dict(draft.texts), draft.own_output, draft.trusted
        self.untold, self.title = set(draft.untold), draft.title
        self.asks_consent = False
        self.settle()

    def resume(self, draft: Draft) -> None:
        """Take up what was left unfinished; :meth:`undo` goes back to how the form began."""
        self._states = States(self.draft)
        self.restore(draft)
        self.keep()

    def is_changed(self, name: str) -> bool:
        """Whether a value differs from its default; a proposed output directory does not count."""
        if name == "output_dir":
            return self._own_output
        info = settings()[name]
        return not ladder.same(info, self.texts[name], default_text(info))

    @property
    def changed(self) -> list[str]:
        """Names of the changed settings, in the form's order."""
        return [name for name in settings() if self.is_changed(name)]

    @property
    def proposes_output(self) -> bool:
        """Whether the output directory follows the model."""
        return not self._own_output

    # Checks.

    def review(self) -> None:
        """Check all texts."""
        self.config, found = check(self._given())
        self.problems = {}
        for problem in found:
            if problem.setting is not None:
                self.problems.setdefault(problem.setting, problem)

    def _given(self) -> dict[str, str]:
        infos = settings()
        return {
            n: text for n, text in self.texts.items() if text.strip() or not (infos[n].optional or infos[n].required)
        }

    def problem(self, name: str) -> Problem | None:
        """What is wrong with a setting: its value, or the file behind it."""
        return self.problems.get(name) or self.file_problems.get(name)

    @property
    def wrong(self) -> list[str]:
        """Names of the settings that keep the run from starting, in the form's order."""
        return [name for name in settings() if self.problem(name) is not None]

    # What it comes to.

    @property
    def gpu_count(self) -> int:
        """How many GPUs are asked for or named; ``auto`` takes one."""
        asked = self.texts["num_gpus"].strip()
        if asked.isdigit() and "num_gpus" not in self.problems:
            return max(1, int(asked))
        names = [part for part in self.texts["gpus"].split(",") if part.strip()]
        return max(1, len(names))

    @property
    def plan(self) -> Plan | None:
        """Steps and samples, as far as the settings that count are right and the data are known.

        Where the run chooses its updates by the lengths of the rows, only the sheet of costs can tell.
        """
        if self.train is None or any(name in self.problems for name in COUNTED):
            return None
        config = self.so_far
        if config is None or updates.chosen(config):
            return None
        return plan(config, *samples(config, self.train, self.eval), self.gpu_count)

    @property
    def so_far(self) -> RunConfig | None:
        """The configuration; while some settings are wrong, that of all others."""
        return self.config or self._counted_config()

    def _counted_config(self) -> RunConfig | None:
        """A configuration that is right in all that counts, while others are still wrong."""
        values = {name: text for name, text in self._given().items() if name not in self.problems}
        for name in ("train_path", "output_dir"):
            values.setdefault(name, "unknown")
        try:
            return RunConfig.model_validate(values)
        except ValidationError:
            return None

    @property
    def command(self) -> str | None:
        """The exact command line, once the values are valid."""
        return None if self.config is None else command_line(self.config)

    def yaml(self, *, only_changed: bool = False) -> str:
        """The settings as YAML; while some are wrong, the changed ones as they were typed."""
        if self.config is not None:
            return yaml_file.dumps(self.config, only_changed=only_changed, header="Settings of a tunedeck run")
        import yaml

        typed = {name: self.texts[name] for name in self.changed}
        return yaml.safe_dump(typed, sort_keys=False, allow_unicode=True, width=110)

    # Views.

    def visible(self, view: str) -> Iterator[tuple[str, list[SettingInfo]]]:
        """Groups with the settings that a view shows; what is wrong is always shown."""
        for group in GROUPS:
            shown = [info for info in settings().values() if info.group == group and self._shows(info, view)]
            if shown:
                yield group, shown

    def _shows(self, info: SettingInfo, view: str) -> bool:
        if view == "all" or self.problem(info.name) is not None or self.is_changed(info.name):
            return True
        return info.basic if view == "basic" else info.required


def default_text(info: SettingInfo) -> str:
    """A setting's default as one would type it."""
    return "" if info.default is None else format_value(info.default)


def empty_means(info: SettingInfo) -> str:
    """What leaving a setting empty comes to, in the words of its help; empty if it does not say."""
    _, found, rest = info.help.partition("empty: ")
    return rest.rstrip(".") if found else ""


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "yes", "on", "1")


def _proposal(model: str) -> str:
    try:
        return str(propose_output_dir(model.strip())) if model.strip() else ""
    except (OSError, ValueError):
        return ""

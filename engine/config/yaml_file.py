"""Settings in YAML files: presets, ``--config`` and what the form saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from engine.config.schema import RunConfig, settings
from engine.data import sources
from engine.errors import InputError, Problem
from engine.paths import expand
from engine.templates.table import BY_NAME
from engine.text import clean

MAX_BYTES = 1_000_000
# Paths in these settings are relative to the folder of the YAML file that names them, if they exist there.
PATH_SETTINGS = ("base_model", "chat_template_path", "train_path", "eval_path", "sample_prompts")


def load(path: Path) -> dict[str, Any]:
    """The raw settings of a YAML file, unchecked (see :func:`engine.config.parse`).

    Relative paths that exist beside the file are made absolute, so that a file works from any folder. Raises
    :class:`InputError` naming file and line.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(Problem("bad-yaml", "is too large for a settings file", file=str(path)))
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        raise InputError(Problem("bad-yaml", "is a directory, not a YAML file", file=str(path))) from None
    except UnicodeDecodeError:
        raise InputError(Problem("bad-yaml", "is not UTF-8 text", file=str(path))) from None
    except OSError as error:
        hint = "Check the path given with --config"
        raise InputError(Problem("bad-yaml", f"cannot be read: {error.strerror}", hint, file=str(path))) from None
    return _resolve_paths(loads(text, str(path)), path.absolute().parent)


def loads(text: str, name: str) -> dict[str, Any]:
    """Parse YAML text; ``name`` is what errors call it."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        what = clean(getattr(error, "problem", None) or "is not valid YAML", 200)
        raise InputError(Problem("bad-yaml", what, "Write one `setting: value` a line", file=name, line=line)) from None
    except (RecursionError, ValueError, KeyError, AttributeError, TypeError):  # e.g. `!!bool foo`, `? {a: b}`
        raise InputError(Problem("bad-yaml", "is not valid YAML", file=name)) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(Problem("bad-yaml", "must hold `setting: value` lines", file=name, line=1))
    return {str(key): value for key, value in data.items()}


def dumps(config: RunConfig, *, only_changed: bool = False, header: str = "") -> str:
    """The settings as YAML in the form's order; reading it back starts the same run again."""
    values = config.model_dump(mode="json")
    if only_changed:
        values = {name: value for name, value in values.items() if value != settings()[name].default}
    lines = [f"# {clean(line)}\n" for line in header.splitlines()]
    return "".join(lines) + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def _resolve_paths(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    for name in PATH_SETTINGS:
        value = values.get(name)
        if name in ("train_path", "eval_path"):
            values.update({name: sources.resolved(value, folder)} if name in values else {})
            continue
        if name == "chat_template_path" and str(value).strip() in BY_NAME:
            continue  # a known name is never a path
        try:
            if isinstance(value, str) and value and not expand(value).is_absolute():
                beside = folder / value
                if beside.exists() and (name != "sample_prompts" or value.lower().endswith((".txt", ".jsonl"))):
                    values[name] = str(beside)
        except (OSError, ValueError, RuntimeError):
            continue  # a path that is none (too long, ~nobody): the check of the settings says so
    return values

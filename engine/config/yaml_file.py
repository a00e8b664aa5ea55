"""Settings in YAML files: presets, ``--config`` and what the form saves."""

from __future__ import annotations

import os
import stat
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
    return _resolve_paths(loads(_read(path), str(path)), expand(path).absolute().parent)


class _Loader(yaml.SafeLoader):
    """Takes no setting twice: of two values for one, nobody knows which is meant."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As always, unless a key stands there a second time."""
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"names {key.value} twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """As always; a value that Python cannot make is said with its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, TypeError):  # `!!bool foo`, a date of month 13, 5,000 digits
            raise yaml.constructor.ConstructorError(None, None, "cannot be read as a value", node.start_mark) from None


def _read(path: Path) -> str:
    """The text of a file of settings: never a pipe or a device, which may have no end."""

    def bad(message: str, hint: str = "Give a YAML file of `setting: value` lines") -> InputError:
        return InputError(Problem("bad-yaml", message, hint, file=str(path)))

    try:
        mode = os.stat(expand(path)).st_mode
        # What a shell puts in place of <(command) is a pipe, too, but one that somebody writes to.
        given = stat.S_ISFIFO(mode) and os.path.realpath(path).startswith("/proc/")
        if not stat.S_ISREG(mode) and not given:
            raise bad("is a directory, not a YAML file" if stat.S_ISDIR(mode) else "is no regular file")
        with expand(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise bad(f"cannot be read: {error.strerror}", "Check the path given with --config") from None
    except ValueError:  # a path with a zero byte
        raise bad("is no possible path", "Check the path given with --config") from None
    if len(data) > MAX_BYTES:
        raise bad("is too large for a settings file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            Problem("bad-yaml", "is not UTF-8 text", "Save it as UTF-8", file=str(path), line=line)
        ) from None


def loads(text: str, name: str) -> dict[str, Any]:
    """Parse YAML text; ``name`` is what errors call it."""
    try:
        data = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        what = clean(getattr(error, "problem", None) or "is not valid YAML", 200)
        if isinstance(error, yaml.reader.ReaderError):
            what, line = "holds a control character", text.count("\n", 0, error.position) + 1
        raise InputError(Problem("bad-yaml", what, "Write one `setting: value` a line", file=name, line=line)) from None
    except (RecursionError, ValueError, KeyError, AttributeError, TypeError):  # e.g. `!!bool foo`, `? {a: b}`
        hint = "Write one `setting: value` a line"
        raise InputError(Problem("bad-yaml", "is not valid YAML", hint, file=name)) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InputError(Problem("bad-yaml", "must hold `setting: value` lines", "Write one a line", file=name, line=1))
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
            flat = isinstance(value, list) and all(isinstance(part, str) for part in value)
            if flat or isinstance(value, str):
                values[name] = sources.resolved(value, folder)
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

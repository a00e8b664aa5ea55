"""The command-line flags of every setting, and the command line that repeats a run."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from engine.config import yaml_file
from engine.config.coerce import joined_texts, text_list
from engine.config.schema import RunConfig, settings


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--SETTING`` (underscores or hyphens) for every setting, and ``--config FILE.yaml``."""
    parser.add_argument("--config", metavar="FILE.yaml", type=Path, help="settings from a YAML file; flags override it")
    groups: dict[str, Any] = {}
    for info in settings().values():
        if info.group not in groups:
            groups[info.group] = parser.add_argument_group(info.group)
        names = list(dict.fromkeys([f"--{info.name}", f"--{info.name.replace('_', '-')}"]))
        text = info.help.replace("%", "%%")
        if info.default is not None:
            text += f" [{format_value(info.default)}]"
        extra: dict[str, Any] = {"nargs": "?", "const": "true"} if info.kind == "flag" else {}
        if info.kind == "texts":
            extra = {"action": "append"}
        groups[info.group].add_argument(
            *names, dest=info.name, default=argparse.SUPPRESS, metavar=info.kind.upper(), help=text, **extra
        )


def values_from(namespace: argparse.Namespace) -> dict[str, Any]:
    """Raw settings of parsed flags: those of ``--config`` first, then the flags."""
    values = yaml_file.load(namespace.config) if namespace.config else {}
    given = vars(namespace)
    for name, info in settings().items():
        if name in given:
            values[name] = _added_up(given[name]) if info.kind == "texts" else given[name]
    return values


def _added_up(texts: list[str]) -> list[str] | None:
    """All texts of a flag that was given more than once."""
    return [text for part in texts for text in text_list(part) or []] or None


def command_line(config: RunConfig) -> str:
    """The exact command that starts this run, with only the settings that differ from their defaults."""
    words = ["tunedeck", "train"]
    values = config.model_dump()
    for name, info in settings().items():
        if values[name] != info.default or info.required or name == "base_model":
            words += [f"--{name}", format_value(values[name], info.kind)]
    return shlex.join(words)


def format_value(value: Any, kind: str = "") -> str:
    """A setting's value as one would type it: ``true``, ``1e-04``, ``a,b``; ``None`` is the word none.

    ``kind`` is the setting's; the texts of a list of ``texts`` may hold commas themselves.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if kind == "texts" and isinstance(value, list):
        return joined_texts([str(item) for item in value])
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, float):
        return _plain_float(value)
    return str(value)


def _plain_float(value: float) -> str:
    """The shortest way to type it: ``5e-4``, ``0.05``, ``3``."""
    short = f"{value:g}"
    if float(short) != value:
        short = repr(value)
    if 0 < abs(value) < 0.01 and "e" not in short:
        mantissa, _, exponent = f"{value:e}".partition("e")
        scientific = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        short = scientific if float(scientific) == value and len(scientific) < len(short) else short
    return short.replace("e-0", "e-").replace("e+0", "e") if "e" in short else short

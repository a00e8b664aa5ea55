"""How one setting is declared and described: the metadata behind form, flags, YAML, ``run.json`` and README."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from pydantic.fields import FieldInfo

GROUPS = ("Model", "Data", "LoRA", "Training", "Evaluation", "Output", "Speed and memory", "Machine")
AUTO = "auto"
_META_KEY = "tunedeck"


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """Everything a form, a flag parser or a table needs to know of one setting.

    ``kind`` is one of ``text``, ``path``, ``directory``, ``integer``, ``number``, ``flag``, ``choice``, ``list``,
    ``texts`` (a list of whole texts).
    ``ladder`` holds sensible values in rising order for the up and down keys; ``optional`` settings may be empty
    (``None``); ``allows_auto`` settings also take the word ``auto``; ``choices`` are all allowed words.
    """

    name: str
    group: str
    help: str
    kind: str
    default: Any
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    ladder: tuple[float, ...] = ()
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    optional: bool = False
    required: bool = False
    allows_auto: bool = False
    basic: bool = False

    @property
    def range_text(self) -> str:
        """The allowed values in words, e.g. ``1 or more`` or ``0 to 1``; empty if anything goes."""
        if self.choices:
            return ", ".join(self.choices)
        words = [AUTO] if self.allows_auto else []
        if self.kind == "flag":
            return ", ".join([*words, "true", "false"])
        low, high = _plain(self.minimum), _plain(self.maximum)
        if low and high:
            bounds = f"above {low}, up to {high}" if self.exclusive_minimum else f"{low} to {high}"
        elif low:
            bounds = f"above {low}" if self.exclusive_minimum else f"{low} or more"
        else:
            bounds = high and f"at most {high}"
        if bounds and words:
            return f"{bounds}, or {AUTO}"
        return bounds or ", ".join(words)


@dataclass(frozen=True, slots=True)
class _Meta:
    group: str
    kind: str
    unit: str
    ladder: tuple[float, ...]
    choices: tuple[str, ...]
    suggestions: tuple[str, ...]
    optional: bool
    allows_auto: bool
    basic: bool
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


def setting(
    default: Any,
    group: str,
    help: str,
    *,
    kind: str = "text",
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    ladder: tuple[float, ...] = (),
    choices: tuple[str, ...] = (),
    suggestions: tuple[str, ...] = (),
    optional: bool = False,
    allows_auto: bool = False,
    basic: bool = False,
) -> Any:
    """Declare a field of :class:`engine.config.schema.RunConfig`; ``...`` as default makes it required."""
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}")
    meta = _Meta(
        group, kind, unit, ladder, choices, suggestions, optional, allows_auto, basic,
        minimum=gt if gt is not None else ge, maximum=le, exclusive_minimum=gt is not None,
    )  # fmt: skip
    bounds: dict[str, Any] = {} if allows_auto else {"ge": ge, "gt": gt, "le": le}
    if isinstance(default, list):
        factory: Callable[[], list[Any]] = lambda: list(default)  # noqa: E731
        return Field(default_factory=factory, description=help, json_schema_extra={_META_KEY: meta}, **bounds)  # type: ignore[dict-item]
    return Field(default, description=help, json_schema_extra={_META_KEY: meta}, **bounds)  # type: ignore[dict-item]


def describe(name: str, info: FieldInfo) -> SettingInfo:
    """The public description of a declared field."""
    extra = info.json_schema_extra
    assert isinstance(extra, dict)
    meta = extra[_META_KEY]
    assert isinstance(meta, _Meta)
    return SettingInfo(
        name=name,
        group=meta.group,
        help=info.description or "",
        kind=meta.kind,
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        unit=meta.unit,
        minimum=meta.minimum,
        maximum=meta.maximum,
        exclusive_minimum=meta.exclusive_minimum,
        ladder=meta.ladder,
        choices=meta.choices,
        suggestions=meta.suggestions,
        optional=meta.optional,
        required=info.is_required(),
        allows_auto=meta.allows_auto,
        basic=meta.basic,
    )


def _plain(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else f"{value:g}"

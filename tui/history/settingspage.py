"""The settings of a run: those that differ from our defaults first, then the others, then what only its tool knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from engine.text import clean
from tui import format as fmt
from tui.history import words
from tui.history.sheet import Page
from tui.widgets.lines import Line

if TYPE_CHECKING:
    from engine.history.record import RunRecord

WIDEST_NAME, WIDEST_VALUE, LEAST_BESIDE = 34, 40, 8
# From this width on a setting's file is said, too.
WITH_SOURCE = 100
LONGEST_VALUE = 2000


@dataclass(frozen=True, slots=True)
class Setting:
    """One line: ``ours`` may be set in the form; ``beside`` is what stands beside the value."""

    name: str
    value: str
    beside: str = ""
    ours: bool = False
    source: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its settings."""

    title: str
    note: str
    settings: tuple[Setting, ...]


def sections(record: RunRecord) -> tuple[Section, ...]:
    """All settings of a record, in a reader's thread (the schema is loaded here)."""
    from engine.config import settings
    from engine.config.flags import format_value

    known = settings()
    changed, same = [], []
    for name, info in known.items():
        if name not in record.settings:
            continue
        value = record.settings[name]
        shown = _auto(record.auto.get(name), format_value(value, info.kind))
        default = "" if info.required else format_value(info.default, info.kind)
        source = record.sources.get(name, "")
        if not info.required and (value == info.default or format_value(value, info.kind) == default):
            same.append(Setting(name, shown, "", True, source))
        else:
            beside = "no default" if info.required or info.default is None else f"default {default}"
            changed.append(Setting(name, shown, beside, True, source))
    unknown = [name for name in known if name not in record.settings]
    other = [
        Setting(name, _plain(value), "", False, record.sources.get(name, ""))
        for name, value in sorted(record.other.items())
    ]
    tool = record.summary.tool
    own = "other settings" if tool in ("tunedeck", "unknown") else f"other settings of {tool}"
    found = [
        Section("changed from our default", "", tuple(changed)),
        Section("as our default", "", tuple(same)),
        Section(own, "by its own names", tuple(other)),
        Section("not known of this run", "", tuple(Setting(name, "unknown", "", True) for name in unknown)),
        *_facts(record),
    ]
    return tuple(section for section in found if section.settings)


def _facts(record: RunRecord) -> list[Section]:
    data = [Setting(name, _plain(value)) for name, value in flat(record.data)]
    versions = [Setting(name, _plain(value)) for name, value in sorted(record.versions.items())]
    results = [Setting(name, fmt.number(value, 6)) for name, value in record.results.items()]
    command = [Setting("command", record.command)] if record.command else []
    return [
        Section("data", "", tuple(data)),
        Section("written at the end", "", tuple(results)),
        Section("versions", "", tuple(versions)),
        Section("started by", "", tuple(command)),
    ]


def flat(data: dict[str, Any], before: str = "", depth: int = 0) -> list[tuple[str, Any]]:
    """Nested records as one list of names and values."""
    out: list[tuple[str, Any]] = []
    for name, value in data.items():
        if isinstance(value, dict) and depth < 4:
            out += flat(value, f"{before}{name}.", depth + 1)
        else:
            out.append((f"{before}{name}", value))
    return out


def _auto(choice: Any, value: str) -> str:
    if not isinstance(choice, dict) or value != "auto":
        return value
    why = f" ({choice['why']})" if choice.get("why") else ""
    return f"auto: {_plain(choice.get('value'))}{why}"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


def page(found: tuple[Section, ...], search: str = "") -> tuple[Page, list[Setting | None]]:
    """The page, and the setting of each row (``None`` for headings and blanks)."""
    wanted = search.casefold().split()
    rows: list[Line | Setting] = []
    hits = 0
    for section in found:
        kept = [s for s in section.settings if all(word in f"{s.name} {s.value}".casefold() for word in wanted)]
        if not kept:
            continue
        hits += len(kept)
        if rows:
            rows.append([])
        rows.append(words.title(section.title, f"{len(kept)}" + (f", {section.note}" if section.note else "")))
        rows += kept
    shown = [entry for entry in rows if isinstance(entry, Setting)]
    name_width = min(WIDEST_NAME, max((cell_len(clean(s.name, 100)) for s in shown), default=8)) + 2
    value_width = min(WIDEST_VALUE, max((cell_len(clean(s.value, 100)) for s in shown if s.beside), default=8)) + 2
    fixed = frozenset(at for at, entry in enumerate(rows) if not isinstance(entry, Setting))

    def row(place: int, width: int) -> Line:
        entry = rows[place]
        return _line(entry, name_width, value_width, width) if isinstance(entry, Setting) else entry

    empty: Line = [("No setting has these words. ", "muted"), ("esc", "key"), (" shows all", "muted")]
    if not search:
        empty = [("No settings were recorded in this directory.", "muted")]
    made = Page(len(rows), row, cursor=True, fixed=fixed, empty=empty)
    return made, [entry if isinstance(entry, Setting) else None for entry in rows]


def _line(setting: Setting, name_width: int, value_width: int, width: int) -> Line:
    unknown = setting.value == "unknown" and setting.ours
    room = max(8, width - name_width)
    value = fmt.cells(clean(setting.value, LONGEST_VALUE)) or "empty"
    line: Line = [(fmt.fit(clean(setting.name, 100), name_width, cut="middle"), "text" if setting.beside else "muted")]
    if setting.beside:
        beside = clean(setting.beside, 200)
        value = fmt.shorten(value, room, "middle")
        shown = fmt.fit(value, max(min(value_width, room), cell_len(value) + 2))
        beside = fmt.shorten(beside, max(0, room - cell_len(shown)), "middle")
        line += [(shown, "value"), (beside if len(beside) > LEAST_BESIDE else "", "muted")]
        used = cell_len(shown) + cell_len(beside)
    else:
        value = fmt.shorten(value, room)
        line.append((value, "muted" if unknown or not setting.value else "text"))
        used = cell_len(value)
    source = clean(setting.source, 60)
    if source and width >= WITH_SOURCE and room - used > cell_len(source) + 3:
        line += [(" " * (room - used - cell_len(source) - 1), "text"), (source, "muted")]
    return line

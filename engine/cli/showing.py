"""``tunedeck show``: everything known of one run, of any tool; what it does not tell is a dash."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from engine.cli import UsageParser
from engine.cli.output import bytes_text, number_text, print_json, seconds_text
from engine.config import settings
from engine.config.flags import format_value
from engine.errors import EXIT_DONE
from engine.history.clone import OURS_ALONE
from engine.history.describe import describe
from engine.records import is_time
from engine.text import clean

LABEL, NAME = 11, 27
# The settings that are shown of any run, told or not.
ALWAYS = ("learning_rate", "lora_r", "lora_alpha", "lora_dropout", "target_modules", "batch_size",
          "gradient_accumulation_steps", "num_train_epochs", "max_seq_length", "lr_scheduler_type", "warmup_ratio", "optim",
          "seed")  # fmt: skip
Lines = list[tuple[str, str]]


def run(verb: str, arguments: list[str]) -> int:
    """Show one run."""
    from engine.history.scan import find_path

    parser = UsageParser(prog="tunedeck show")
    parser.add_argument("run", metavar="RUN", help="a run's directory, the beginning of its id, or its name")
    parser.add_argument("--all", action="store_true", help="every setting, also those that have their default")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    document = describe(find_path(options.run))
    if options.json:
        print_json(document)
        return EXIT_DONE
    lines = [*_head(document), *_settings(document, everything=options.all), *_what_it_had(document), *_said(document)]
    print("\n".join(f"{clean(label, 40):<{LABEL}} {clean(text)}" for label, text in lines))
    return EXIT_DONE


def _head(record: dict[str, Any]) -> Lines:
    state = record["state"] + (" (stalled)" if record["stalled"] else "")
    epochs = f"{number_text(record['epoch'])}/{number_text(record['num_train_epochs'])}"
    name = record["name"] if record["name"] != record["id"] else ""
    return [
        ("run", f"{record['id']}  {name}".rstrip()),
        ("tool", record["tool"]),
        ("state", f"{state}: {record['reason']}" if record["reason"] else state),
        *history_lines(record),
        ("model", record["base_model"] or "-"),
        ("data", record["dataset"] or "-"),
        ("steps", "-" if record["step"] is None else f"{record['step']}/{record['total_steps'] or '?'}"),
        *([("epochs", epochs.replace("/-", ""))] if record["epoch"] is not None else []),
        ("loss", f"{number_text(record['last_loss'])}  best {number_text(record['best_loss'])}"),
        ("eval loss", f"{number_text(record['last_eval_loss'])}  best {number_text(record['best_eval_loss'])}"),
        ("time", seconds_text(record["seconds"])),
        ("when", _when(record)),
        ("directory", f"{record['path']}  {bytes_text(record['bytes'])}"),
        *([("tags", ", ".join(map(str, record["tags"])))] if record["tags"] else []),
        *([("notes", str(record["notes"]))] if record.get("notes") else []),
        *[("command", str(command)) for command in _commands(record)],
    ]


def history_lines(record: dict[str, Any]) -> Lines:
    """Where the run stands in the queue, and in which attempt."""
    lines = []
    if record["queue_position"] is not None:
        lines.append(("queue", f"position {record['queue_position']}"))
    if record["waits_for"]:
        lines.append(("waits for", record["waits_for"]))
    if record["resumed_from"]:
        lines.append(
            ("attempt", f"{record['attempts']}, resumed at step {record['resumed_step']} from {record['resumed_from']}")
        )
    elif (record["attempts"] or 1) > 1:
        lines.append(("attempt", f"{record['attempts']}, from the beginning"))
    return lines


def _when(record: dict[str, Any]) -> str:
    moments = [record["started"] or record["created"], record["ended"]]
    words = [time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if is_time(when) else "-" for when in moments]
    if words == ["-", "-"]:
        when = record["modified"]
        return f"-  last changed {time.strftime('%Y-%m-%d %H:%M', time.localtime(when))}" if is_time(when) else "-"
    return " to ".join(words)


def _commands(record: dict[str, Any]) -> list[Any]:
    """The command of each attempt, in order."""
    attempts = record.get("attempt_records")
    found = [a.get("command") for a in attempts if isinstance(a, dict)] if isinstance(attempts, list) else []
    commands = [command for command in found if command] or [record["command"]]
    return [command for command in commands if command]


def _settings(record: dict[str, Any], *, everything: bool) -> Lines:
    """Those that differ from their default first; of other tools' runs all that are told, and a dash for the usual ones."""
    told, infos = record["config"] if isinstance(record["config"], dict) else {}, settings()
    foreign = record["tool"] != "tunedeck"
    changed = [name for name in infos if name in told and told[name] != infos[name].default]
    shown = [name for name in changed if name not in ("base_model", "output_dir")]
    if foreign or everything:
        left_out = {"output_dir", *(OURS_ALONE - set(told) if foreign else ())}
        shown += [n for n in infos if n not in (*shown, *left_out) and (everything or n in told or n in ALWAYS)]
    lines = [("setting", f"{name:<{NAME}} {_setting(name, told, record)}") for name in shown]
    rest = len(infos) - len(shown) - 2
    if not foreign and not everything and told and rest > 0:
        lines.append(("settings", f"{rest} others have their defaults (--all shows them)"))
    other = record["other"] if isinstance(record["other"], dict) else {}
    if everything:
        lines += [("theirs", f"{name:<{NAME}} {value}") for name, value in other.items()]
    elif other:
        lines.append(("settings", f"{len(other)} others of {record['tool']}'s own (--all shows them)"))
    return lines


def _setting(name: str, told: dict[str, Any], record: dict[str, Any]) -> str:
    if name not in told:
        return "-"
    source = (record["sources"] or {}).get(name)
    try:
        text = format_value(told[name], settings()[name].kind)
    except (TypeError, ValueError):
        text = str(told[name])
    return f"{text}  ({source})" if source else text


def _what_it_had(record: dict[str, Any]) -> Lines:
    """Data, versions, results and checkpoints."""
    lines: Lines = []
    data = record["data"] if isinstance(record["data"], dict) else {}
    for name, found in data.items():
        if isinstance(found, dict) and (len(found) > 1 or found.get("path") != record["dataset"]):
            digest = str(found.get("sha256") or "")[:12]
            about = [
                f"{found['rows']} rows" if found.get("rows") is not None else "",
                f"sha256 {digest}" if digest else "",
            ]
            lines.append(
                ("data", f"{name}: {found.get('path') or '-'}  {', '.join(part for part in about if part)}".rstrip())
            )
        elif found is not None and not isinstance(found, dict) and found != record["dataset"]:
            lines.append(("data", f"{name}: {found}"))
    versions = record["versions"] if isinstance(record["versions"], dict) else {}
    if versions:
        lines.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    results = record["results"] if isinstance(record["results"], dict) else {}
    lines += [("result", f"{name} {number_text(value, 6)}") for name, value in results.items()]
    for checkpoint in record["checkpoints"]:
        valid = "" if checkpoint["valid"] else f"  NOT VALID: {checkpoint['problem']}"
        lines.append(("checkpoint", f"step {checkpoint['step']}  {bytes_text(checkpoint['bytes'])}{valid}"))
    return lines


def _said(record: dict[str, Any]) -> Lines:
    """What ``auto`` chose, notices and problems, each in a line of its own."""
    auto = record["auto"] if isinstance(record["auto"], dict) else {}
    lines = [("auto", f"{n}: {c.get('value')} ({c.get('why')})") for n, c in auto.items() if isinstance(c, dict)]
    lines += _once((str(n.get("level")), str(n.get("text"))) for n in record["notices"] if isinstance(n, dict))
    return lines + [("problem", str(problem)) for problem in record["problems"]]


def _once(lines: Iterable[tuple[str, str]]) -> Lines:
    return list(dict.fromkeys(lines))

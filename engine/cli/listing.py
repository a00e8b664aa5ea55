"""``tunedeck runs`` and ``tunedeck show``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from engine.checkpoints import checkpoints
from engine.cli import UsageParser
from engine.cli.output import bytes_text, number_text, print_json, seconds_text, table
from engine.errors import EXIT_DONE
from engine.history import RunSummary, find_run, scan, summarise
from engine.history.scan import refuse_bad_roots
from engine.records import is_time
from engine.rundir import RunDir
from engine.snapshot import RunFollower
from engine.text import clean


def run(verb: str, arguments: list[str]) -> int:
    """List runs, or show one."""
    parser = UsageParser(prog=f"tunedeck {verb}")
    if verb == "runs":
        parser.add_argument("roots", nargs="*", metavar="ROOT", type=Path, help="list only the runs below these")
    else:
        parser.add_argument("run", metavar="RUN", help="a run's directory, or the beginning of its id")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    options = parser.parse_args(arguments)
    if verb == "show":
        return _show(find_run(options.run), as_json=options.json)
    return _runs(options.roots, as_json=options.json)


def _runs(roots: list[Path], *, as_json: bool) -> int:
    refuse_bad_roots(roots)
    summaries = list(scan(roots, with_size=as_json, registered=not roots))
    summaries.sort(key=lambda s: s.created or 0, reverse=True)
    if as_json:
        print_json([summary.as_dict() for summary in summaries])
    elif not summaries:
        print("No runs yet. Try one: tunedeck demo")
    else:
        rows = [_row(summary) for summary in summaries]
        print(
            table(
                ["ID", "STATE", "NAME", "MODEL", "STEP", "LOSS", "EVAL", "STARTED"],
                rows,
                right=(4, 5, 6),
                drop=(3, 7, 6),
            )
        )
    return EXIT_DONE


def _row(summary: RunSummary) -> list[str]:
    step = "-" if summary.step is None else f"{summary.step}/{summary.total_steps or '?'}"
    when = summary.started or summary.created
    started = time.strftime("%Y-%m-%d %H:%M", time.localtime(when)) if is_time(when) else "-"
    model = Path(summary.base_model).name if summary.base_model else "-"
    losses = [number_text(summary.last_loss), number_text(summary.last_eval_loss)]
    return [summary.id, _state(summary), clean(summary.name, 40), clean(model, 30), step, *losses, started]


def _state(summary: RunSummary) -> str:
    """The state in the few words of a column."""
    state = f"{summary.state} (stalled)" if summary.stalled else summary.state
    if summary.queue_position is not None:
        state = f"{state} {summary.queue_position}"
    if summary.live and not summary.here:
        state = f"{summary.state} on {summary.host}"
    return f"{state}, attempt {summary.attempts}" if (summary.attempts or 1) > 1 else state


def describe(run: RunDir) -> dict[str, Any]:
    """The document of ``show --json``."""
    summary = summarise(run.path, with_size=True)
    view = RunFollower(run.path).read_all()
    assert summary is not None
    record = summary.as_dict()
    problems = record["problems"]
    if view.damaged:
        problems.append(damage_text(view.damaged))
    return {
        **record,
        "config": view.run.get("config"),
        "auto": view.run.get("auto"),
        "data": view.run.get("data"),
        "versions": view.run.get("versions"),
        "checkpoints": [checkpoint.as_dict() for checkpoint in checkpoints(run.path)],
        "reason": view.state.reason or None,
        "stalled": view.state.stalled,
        "command": view.run.get("command"),
        "attempt_records": view.attempts,
        "seconds": view.elapsed,
        "notices": [
            {"time": n.time, "level": n.level, "text": n.text, "kind": n.kind or None, "step": n.step}
            for n in view.notices
        ],
    }


def damage_text(count: int) -> str:
    """How damage in the event streams is said."""
    what = "1 damaged line in its events was" if count == 1 else f"{count} damaged lines in its events were"
    return f"{what} skipped"


def _history(record: dict[str, Any]) -> list[tuple[str, str]]:
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


def _commands(record: dict[str, Any]) -> list[Any]:
    """The command of each attempt, in order."""
    attempts = record.get("attempt_records")
    found = [a.get("command") for a in attempts if isinstance(a, dict)] if isinstance(attempts, list) else []
    return [command for command in found if command] or [record["command"]]


def _show(run: RunDir, *, as_json: bool) -> int:
    record = describe(run)
    if as_json:
        print_json(record)
        return EXIT_DONE
    state = record["state"] + (" (stalled)" if record["stalled"] else "")
    lines = [
        ("run", f"{record['id']}  {record['name']}"),
        ("state", f"{state}: {record['reason']}" if record["reason"] else state),
        *_history(record),
        ("model", record["base_model"]),
        ("steps", "-" if record["step"] is None else f"{record['step']}/{record['total_steps'] or '?'}"),
        ("loss", f"{number_text(record['last_loss'])}  best {number_text(record['best_loss'])}"),
        ("eval loss", f"{number_text(record['last_eval_loss'])}  best {number_text(record['best_eval_loss'])}"),
        ("time", seconds_text(record["seconds"])),
        ("directory", f"{record['path']}  {bytes_text(record['bytes'])}"),
        *[("command", command) for command in _commands(record)],
    ]
    for checkpoint in record["checkpoints"]:
        valid = "" if checkpoint["valid"] else "  NOT VALID"
        lines.append(("checkpoint", f"step {checkpoint['step']}  {bytes_text(checkpoint['bytes'])}{valid}"))
    auto = record["auto"] if isinstance(record["auto"], dict) else {}
    lines += [("auto", f"{n}: {c.get('value')} ({c.get('why')})") for n, c in auto.items() if isinstance(c, dict)]
    lines += list(dict.fromkeys((notice["level"], notice["text"]) for notice in record["notices"]))
    lines += [("problem", problem) for problem in record["problems"]]
    print("\n".join(f"{clean(label, 20):<11} {clean(text)}" for label, text in lines))
    return EXIT_DONE

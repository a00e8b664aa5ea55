"""``tunedeck queue``: what waits and what runs; ``move``, ``cancel``, ``slots``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from engine import queue
from engine import status as states
from engine.cli import UsageParser
from engine.cli.output import print_json, table
from engine.errors import EXIT_DONE, EXIT_FAILED, InputError, Problem
from engine.history import find_run, summarise
from engine.queue import entries, slots
from engine.rundir import RunDir
from engine.text import clean

POLL_SECONDS = 0.1


def run(verb: str, arguments: list[str]) -> int:
    """Show the queue or change it; 0 done."""
    parser = UsageParser(prog="tunedeck queue", description="Runs that wait for a GPU, or for a slot without one.")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    actions = parser.add_subparsers(dest="action", metavar="COMMAND")
    move = actions.add_parser("move", help="give a waiting run another place")
    cancel = actions.add_parser("cancel", help="take a waiting run out; it ends as stopped")
    for action in (move, cancel):
        action.add_argument("run", metavar="RUN", help="a run's directory, or the beginning of its id")
    move.add_argument("position", metavar="POSITION", type=_positive, help="its new place; 1 is the next to start")
    number = actions.add_parser("slots", help="show or set how many runs may train at once without a GPU")
    number.add_argument("number", metavar="N", type=_positive, nargs="?")
    for action in (move, cancel, number):
        # Not set unless given, so that `queue --json move` is heard, too.
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.action == "move":
        return _move(find_run(options.run), options.position, as_json=options.json)
    if options.action == "cancel":
        return _cancel(find_run(options.run), as_json=options.json)
    if options.action == "slots":
        return _slots(options.number, as_json=options.json)
    return _show(as_json=options.json)


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) == int(text[:10]):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def waiting() -> list[dict[str, Any]]:
    """The runs in the queue, in their order. Texts are untrusted."""
    rows = []
    for position, entry in enumerate(entries.read_all(), 1):
        summary = summarise(Path(entry.path)) if entry.path else None
        status = RunDir(entry.path).read_status() or {} if summary is not None else {}
        waits_for = status.get("waits_for")
        if summary is None:
            waits_for = "its directory is not there"
        elif summary.state == states.QUEUED and summary.reason:
            waits_for = summary.reason
        rows.append({
            "position": position,
            "id": entry.id,
            "name": summary.name if summary else None,
            "state": summary.state if summary else states.UNKNOWN,
            "waits_for": waits_for if isinstance(waits_for, str) else None,
            "gpus": entry.gpus,
            "path": entry.path or None,
        })  # fmt: skip
    return rows


def running() -> list[dict[str, Any]]:
    """The machine's slots and who is in them, of all users. Texts are untrusted; unknown is ``None``."""
    cards = slots.cards_now()
    place, crowd = slots.known_directory(), slots.crowded(cards)
    names = [slots.slot_name(card) for card in cards] or slots.cpu_slots()
    held = {name: holder for name in [*names, *slots.files(place)] if (holder := slots.holder(place, name)) is not None}
    rows = []
    for name in dict.fromkeys([*names, *held]):
        holder = held.get(name)
        rows.append({
            "slot": name,
            "label": slots.label(name, cards),
            "free": holder is None and name not in crowd,
            "user": holder.user or None if holder else None,
            "run": holder.run or None if holder else None,
            "pid": holder.pid if holder else None,
            "since": holder.since if holder else None,
            "used_by": str(holder) if holder else crowd.get(name),
        })  # fmt: skip
    return rows


def _show(*, as_json: bool) -> int:
    queued, used = waiting(), running()
    if as_json:
        print_json({"waiting": queued, "slots": used})
        return EXIT_DONE
    if queued:
        rows = [[str(q["position"]), q["id"], clean(q["name"] or "-", 40), q["state"], clean(q["waits_for"] or "-", 200)]
                for q in queued]  # fmt: skip
        print(table(["POS", "ID", "NAME", "STATE", "WAITS FOR"], rows, right=(0,), drop=(3,)))
    else:
        print("No run waits.")
    print()
    rows = []
    for slot in used:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(slot["since"])) if _sane(slot["since"]) else ""
        rows.append([slot["label"], "is free" if slot["free"] else clean(slot["used_by"], 150), since])
    print(table(["SLOT", "NOW", "SINCE"], rows))
    return EXIT_DONE


def _sane(when: float | None) -> bool:
    return when is not None and 0 < when < 2**33


def _move(run: RunDir, position: int, *, as_json: bool) -> int:
    run_id = _id(run)
    after = entries.move(run_id, position)
    place = next((n for n, entry in enumerate(after, 1) if entry.id == run_id), None)
    if as_json:
        print_json({"id": run_id, "position": place, "queue": [entry.id for entry in after]})
    else:
        print(f"Run {clean(run_id)} is number {place} of {len(after)} in the queue")
    return EXIT_DONE


def _cancel(run: RunDir, *, as_json: bool) -> int:
    run_id = _id(run)
    with entries.locked():
        # Nothing leaves the queue to start while the lock is held: what is asked here is heard before that.
        if not queue.entry_exists(run_id):
            raise InputError(Problem("not-queued", f"run {run_id} does not wait in the queue",
                                     "To end one that trains: tunedeck stop"))  # fmt: skip
        run.request("stop")
    queue.revive()  # its supervisor answers, and one that is gone is started for that
    deadline = time.monotonic() + 30
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        status = run.read_status() or {}
        if status.get("state") in states.ENDED:
            break
        time.sleep(POLL_SECONDS)
    done = status.get("state") == states.STOPPED
    text = f"{status.get('state')}: {status.get('reason') or ''}" if status.get("state") in states.ENDED else ""
    if as_json:
        print_json({"id": run_id, "state": status.get("state"), "reason": status.get("reason") or None})
    else:
        print(clean(text or "no answer yet; it leaves the queue when its supervisor looks again"),
              file=sys.stdout if done else sys.stderr)  # fmt: skip
    return EXIT_DONE if done else EXIT_FAILED


def _slots(number: int | None, *, as_json: bool) -> int:
    cards = slots.cards_now()
    if number is not None:
        if number > slots.MAX_SLOTS:
            raise InputError(Problem("bad-slots", f"at most {slots.MAX_SLOTS} slots are possible"))
        try:
            slots.set_count(number)
        except OSError as error:
            raise InputError(
                Problem("queue-not-written", f"cannot be stored: {error.strerror}", file=str(queue.folder()))
            ) from None
    count = len(cards) or slots.count()
    if as_json:
        print_json({"slots": count, "gpus": len(cards), "without_gpu": slots.count()})
    elif cards:
        print(
            f"{count} {'slot' if count == 1 else 'slots'}: a slot is a GPU here. Runs that use no GPU: {slots.count()} at once"
        )
    else:
        print(f"{count} {'run' if count == 1 else 'runs'} at once on this machine")
    if number is not None and slots.count() != number:
        print(f"{slots.COUNT_ENV} is set to {slots.count()} and goes before it", file=sys.stderr)
    return EXIT_DONE


def _id(run: RunDir) -> str:
    return str((run.read_run() or {}).get("id") or "")

"""Thousands of runs of other tools: a cold scan, the index, a scan that finds nothing new, a filter; time and memory of each.

Against reading every file that holds a curve with ``json``, one after the other. Each measurement has a process of its
own, held with its helpers to two processors; memory is the most that all of them had at one moment, shared pages counted
once a process (RSS) or once in all (PSS). Run: python -m tests.benchmarks.history [RUNS] [FOLDER]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BYTES_EACH = 200_000
# What one types, letter by letter.
TYPED = (
    "qwen",
    "model:qwen loss<1.2",
    "tool:trl lr>=1e-4",
    "date>2026-10 -tag:old",
    "(state:completed or is:live) r:16,32",
)


def by_json(root: Path) -> dict[str, float]:
    """Baseline: every file of logged rows through ``json``, a row for each."""
    began, first, rows = time.perf_counter(), 0.0, []
    for folder, _, names in os.walk(root):
        for name in names:
            file = os.path.join(folder, name)
            if name == "trainer_state.json":
                with open(file, encoding="utf-8") as stream:
                    found = json.load(stream)["log_history"]
            elif name in ("trainer_log.jsonl", "logging.jsonl"):
                with open(file, encoding="utf-8") as stream:
                    found = [json.loads(line) for line in stream]
            else:
                continue
            losses = [row["loss"] for row in found if "loss" in row]
            rows.append((folder, losses[-1] if losses else None))
            first = first or time.perf_counter() - began
    return {"first": first, "seconds": time.perf_counter() - began, "rows": len(rows)}


def scanned(root: Path) -> dict[str, float]:
    """A scan with whatever index there is."""
    from engine.history.index import Index, Scanner

    scanner, began, first, rows = Scanner(Index(), lambda: [root]), time.perf_counter(), None, {}
    for batch in scanner.scan():
        rows.update((run.path, run) for run in batch.changed)
        if rows and first is None:
            first = time.perf_counter() - began
    seconds = time.perf_counter() - began
    assert not batch.unreachable, batch.unreachable
    time.sleep(0.3)  # the memory of this moment, too
    scanner.close()
    return {"first": first or 0.0, "seconds": seconds, "rows": len(rows)}


def usable(root: Path) -> dict[str, float]:
    """The rows of the index; the process start is added by whoever started it."""
    from engine.history.index import Index, Scanner

    rows = Scanner(Index(), lambda: [root]).rows()
    return {"rows": len(rows), "at": time.time()}


def rescanned(root: Path) -> dict[str, float]:
    """The rows of the index, then a scan that tells what differs."""
    from engine.history.index import Index, Scanner

    began, scanner = time.perf_counter(), Scanner(Index(), lambda: [root])
    scanner.rows()
    first, changed = time.perf_counter() - began, 0
    for batch in scanner.scan():
        changed += len(batch.changed)
    scanner.close()
    return {"first": first, "seconds": time.perf_counter() - began, "rows": changed}


def gathered(root: Path) -> dict[str, float]:
    """What the command line asks for."""
    from engine.history import gather

    began = time.perf_counter()
    rows = gather([root])
    return {"seconds": time.perf_counter() - began, "rows": len(rows)}


def filtered(root: Path) -> dict[str, float]:
    """Each letter: understand the filter, filter all rows, sort what passes."""
    from engine.history import query
    from engine.history.fields import FIELDS, sort_key
    from engine.history.index import Index

    rows, order, times = Index().rows([root]), sort_key(FIELDS["date"], reverse=True), []
    for _ in range(3):
        for text in TYPED:
            for length in range(1, len(text) + 1):
                began = time.perf_counter()
                try:
                    shown = query.parse(text[:length]).keep(rows)
                except query.QueryError:
                    continue  # the list stays as it was
                shown.sort(key=order, reverse=True)
                times.append(time.perf_counter() - began)
    times.sort()
    return {"rows": len(rows), "p50": 1000 * times[len(times) // 2], "p99": 1000 * times[int(len(times) * 0.99)]}


def by_words(root: Path) -> dict[str, float]:
    """Baseline of a keystroke: all words anywhere in what is shown of a row, each row put together and sorted anew."""
    from engine.history.index import Index

    rows, times = Index().rows([root]), []
    for text in TYPED:
        for length in range(1, len(text) + 1):
            began, words = time.perf_counter(), text[:length].split()
            shown = [run for run in rows if all(word in str(run.as_dict()).casefold() for word in words)]
            shown.sort(key=lambda run: -(run.started or run.modified or 0))
            times.append(time.perf_counter() - began)
            if len(times) > 8:
                break
    times.sort()
    return {"rows": len(rows), "p50": 1000 * times[len(times) // 2], "p99": 1000 * times[-1]}


class Memory(threading.Thread):
    """Samples a process and its children; ``cpu`` is what they have used when last seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.rss, self.pss, self.own = pid, 0.0, 0.0, 0.0
        self.cpu: dict[int, float] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.1):
            found = [self._one(pid) for pid in (self.pid, *_children(self.pid))]
            self.rss, self.pss = (
                max(self.rss, sum(one[0] for one in found)),
                max(self.pss, sum(one[1] for one in found)),
            )
            self.own = max(self.own, found[0][0])

    def _one(self, pid: int) -> tuple[float, float]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            self.cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (OSError, IndexError):
            return 0.0, 0.0
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 / 1e6 for line in text.splitlines()[1:]}
        return sizes.get("Rss:", 0.0), sizes.get("Pss:", 0.0)


def _children(pid: int) -> list[int]:
    try:
        found = [Path(task, "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []
    return [int(one) for some in found for one in some]


def measured(task: Callable[[Path], dict[str, float]], root: Path) -> dict[str, Any]:
    """What the task tells, from a process of its own, with the time from its start and the memory of it and its helpers."""
    code = f"from tests.benchmarks.history import *; child({task.__name__}, {str(root)!r})"
    began = time.time()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        memory = Memory(process.pid)
        memory.start()
        assert process.stdout is not None
        text = process.stdout.read()
        memory.over.set()
    assert process.returncode == 0
    told = json.loads(text)
    return {**told, "start": told.get("at", 0) - began, "rss": memory.rss, "pss": memory.pss, "own": memory.own,
            "cpu": sum(memory.cpu.values())}  # fmt: skip


def child(task: Callable[[Path], dict[str, float]], root: str) -> None:
    """Do a task in this process and print what it tells."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-2:]))
    print(json.dumps(task(Path(root))), flush=True)


def out_of_memory(root: Path) -> None:
    """The system keeps none of the files in memory."""
    os.sync()
    for folder, _, names in os.walk(root):
        for name in names:
            fd = os.open(os.path.join(folder, name), os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def touch_some(root: Path, share: float = 0.01) -> int:
    """A few runs go on: their files have another time."""
    dice, files = random.Random(1), sorted(root.rglob("adapter_config.json"))
    some = dice.sample(files, max(1, int(share * len(files))))
    for file in some:
        os.utime(file)
    return len(some)


def show(label: str, found: dict[str, Any]) -> None:
    """One line of the table."""

    def cell(name: str, form: str = "8.2f") -> str:
        return format(found[name], form) if name in found else " " * (int(form.split(".")[0]) - 1) + "–"

    print(f"{label:44} {cell('first')} {cell('seconds')} {cell('cpu')} {cell('own', '7.0f')} {cell('rss', '7.0f')} "
          f"{cell('pss', '7.0f')} {cell('rows', '7.0f')}", flush=True)  # fmt: skip


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        root = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(name, "runs")
        if not root.exists():
            from tests.corpus.many import many

            many(root, count, BYTES_EACH)
        for kind in ("CACHE", "STATE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = str(Path(name, kind.lower()))
        cache = Path(name, "cache", "tunedeck", "history.sqlite3")
        total = sum(os.path.getsize(os.path.join(folder, f)) for folder, _, names in os.walk(root) for f in names)
        load = os.getloadavg()[0]
        print(f"{total / 1e9:.2f} GB below {root}; other work on this machine: load {load:.1f} of {os.cpu_count()}")
        print(f"{'':44} {'first s':>8} {'all s':>8} {'cpu s':>8} {'own MB':>7} {'RSS MB':>7} {'PSS MB':>7} {'rows':>7}")
        show("baseline: json, one after the other", measured(by_json, root))
        show("cold scan, files in memory", measured(scanned, root))
        cache.unlink()
        out_of_memory(root)
        show("cold scan, files on the disk", measured(scanned, root))
        found = min((measured(usable, root) for _ in range(5)), key=lambda one: float(one["start"]))
        show("rows from the index, with the process start", {**found, "seconds": found["start"]})
        show("rows, then a scan: nothing has changed", measured(rescanned, root))
        touched = touch_some(root)
        show(f"rows, then a scan: {touched} files touched", measured(rescanned, root))
        show("all for the command line (gather)", measured(gathered, root))
        for label, task in (
            ("baseline of a keystroke: text of all fields", by_words),
            ("keystroke: filter and sort", filtered),
        ):
            found = measured(task, root)
            print(
                f"{label:44} p50 {found['p50']:.1f} ms, p99 {found['p99']:.1f} ms, {found['rows']} rows, {found['own']:.0f} MB"
            )


if __name__ == "__main__":
    main()

"""How long a file of chats takes to check: ``python -m tests.benchmarks.validation [--mb 100] [--json-list] [--csv]``.

Prints seconds of CPU and of the clock and the growth of memory for :func:`engine.data.check_file`, and for ``json.loads`` on each line
of the same file in the same run: a machine's speed stands beside each figure.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.data import check_file

WORDS = [
    "the",
    "model",
    "learns",
    "from",
    "data",
    "that",
    "somebody",
    "wrote,",
    "and",
    "데이터는",
    "어디에나",
    "있다",
    "“quoted”",
    "naïve",
    "\n",
    "*",
    "item:",
    "x_1",
    "=",
    "{a:",
    "3}",
]


def rows(number_of_bytes: int, seed: int = 0):
    """Chats of two to eight turns, no two alike, until they come to so many bytes."""
    draw, size, number = random.Random(seed), 0, 0
    while size < number_of_bytes:
        messages = [{"role": "system", "content": "You help."}] if draw.random() < 0.3 else []
        for _ in range(draw.randint(1, 4)):
            number += 1
            messages.append(
                {"role": "user", "content": f"{number} " + " ".join(draw.choices(WORDS, k=draw.randint(5, 40)))}
            )
            messages.append({"role": "assistant", "content": " ".join(draw.choices(WORDS, k=draw.randint(10, 120)))})
        line = json.dumps({"messages": messages}, ensure_ascii=False)
        size += len(line.encode()) + 1
        yield messages, line


def write(path: Path, number_of_bytes: int, *, kind: str = "jsonl") -> int:
    """Write a file; returns the number of its rows."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        if kind == "csv":
            table.writerow(["query", "response"])
        file.write("[\n" if kind == "json" else "")
        for count, (messages, line) in enumerate(rows(number_of_bytes), 1):
            if kind == "csv":
                table.writerow([messages[-2]["content"], messages[-1]["content"]])
            else:
                file.write((",\n" if kind == "json" and count > 1 else "") + line + ("\n" if kind == "jsonl" else ""))
        file.write("\n]\n" if kind == "json" else "")
    return count


def measured(work: Callable[[], Any]) -> tuple[Any, float, float, float]:
    """What it returns, seconds of CPU and of the clock, and megabytes that the peak of memory grew by."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, clock = time.process_time(), time.monotonic()
    result = work()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return result, time.process_time() - cpu, time.monotonic() - clock, (after - before) / 1024


def baseline(path: Path) -> int:
    """What nobody can do without in plain Python."""
    with path.open(encoding="utf-8") as file:
        return sum(1 for line in file if json.loads(line))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--kind", choices=("jsonl", "json", "csv"), default="jsonl")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / f"data.{options.kind}"
        count = write(path, options.mb * 1_000_000, kind=options.kind)
        size = path.stat().st_size / 1e6
        report, cpu, clock, memory = measured(lambda: check_file(path))
        assert report.rows == report.usable == count and not report.errors, report
        print(
            f"check_file    {size:7.1f} MB {count:9,} rows  {cpu:6.2f} s CPU  {clock:6.2f} s  memory +{memory:.0f} MB"
        )
        if options.kind == "jsonl":
            found, cpu, clock, _ = measured(lambda: baseline(path))
            assert found == count
            print(f"json.loads    {size:7.1f} MB {count:9,} rows  {cpu:6.2f} s CPU  {clock:6.2f} s")


if __name__ == "__main__":
    main()

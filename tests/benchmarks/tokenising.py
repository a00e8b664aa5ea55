"""Tokenising for training: ``python -m tests.benchmarks.tokenising [--mb 100] [--rows 1000000] [--model DIRECTORY]``.

For a file of so many megabytes of chats, and one of so many short rows: rows and megabytes a second, the cores that were busy, the peak
of memory beside what the libraries take, then the same from the cache, each in a process of its own as a run has it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from engine import paths


def short_rows(path: Path, count: int) -> None:
    """Questions and answers of a few words, no two alike."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            messages = [{"role": "user", "content": f"What is {number} plus {number % 97}?"},
                        {"role": "assistant", "content": f"It is {number + number % 97}."}]  # fmt: skip
            file.write(json.dumps({"messages": messages}) + "\n")


def peak() -> float:
    """Megabytes of its own that this process has held at most, and those of files that it has mapped, which are not needed."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def worked() -> float:
    """Seconds of CPU of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def own() -> float:
    """Megabytes of memory that is no mapped file, now."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def one(path: Path, model: str) -> None:
    """In a process of its own: prepare the rows, print the figures."""
    from engine.config import parse
    from engine.worker import chat, libraries

    libraries.load()
    from engine.worker.marking import Marker
    from engine.worker.tokenising import Data

    config = parse({"base_model": model, "train_path": str(path), "output_dir": "out"}).model_dump(mode="json")
    marker = Marker(chat.load_tokenizer(config), limit=config["max_seq_length"])
    marker.ends_turns()
    most, before = own(), own()
    begun, busy = time.monotonic(), worked()

    def tell(done: int, total: int | None) -> None:
        nonlocal most
        most = max(most, own())

    found = Data(config).tokenise(marker, tell)
    seconds = time.monotonic() - begun
    cores, most = (worked() - busy) / seconds, max(most, own())
    tokens = int(found.train.lengths().sum())
    begun = time.monotonic()
    for place in range(0, len(found.train), max(1, len(found.train) // 1000)):
        found.train.dataset[place]
    each = (time.monotonic() - begun) / min(1000, len(found.train))
    print(f"{seconds:8.2f} s  {len(found.train) / seconds:10,.0f} rows/s  {path.stat().st_size / 1e6 / seconds:6.1f} MB/s  {cores:4.1f} cores  "
          f"{tokens:,} tokens; memory of its own at most {most - before:+.0f} MB (libraries {before:.0f}), with mapped files {peak():.0f}, in each other process "
        f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f}; "
          f"a row in {each * 1e6:.0f} µs")  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--model", default=str(paths.sample_data_dir() / "tiny-qwen2"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        return one(options.one, options.model)
    from tests.benchmarks.validation import write

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {}
        if options.mb:
            files[f"{options.mb} MB"] = folder / "large.jsonl"
            write(folder / "large.jsonl", options.mb * 1_000_000)
        if options.rows:
            files[f"{options.rows:,} short rows"] = folder / "short.jsonl"
            short_rows(folder / "short.jsonl", options.rows)
        for title, path in files.items():
            for kind in ("tokenised", "from the cache"):
                print(f"{title}, {kind}", flush=True)
                command = [
                    sys.executable,
                    "-m",
                    "tests.benchmarks.tokenising",
                    "--one",
                    str(path),
                    "--model",
                    options.model,
                ]
                subprocess.run(command, check=True, env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")})
            size = sum(file.stat().st_size for file in (folder / "cache").rglob("*.arrow"))
            print(f"the data have {path.stat().st_size / 1e6:.0f} MB, the cache {size / 1e6:.0f}", flush=True)
    return None


if __name__ == "__main__":
    main()

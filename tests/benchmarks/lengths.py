"""How long the lengths of a large file take: ``python -m tests.benchmarks.lengths [--mb 100] [--model DIRECTORY]``.

Prints seconds to the check, to lengths by a sample, to those of all rows, and again from the cache; then the peak of memory of
this process and of the inspector. The inspector is warm: that it loads its libraries (seconds) is measured by itself.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from engine import paths
from engine.config import parse
from engine.data import Reading, check_sources
from engine.inspecting import Inspector, model_fields
from engine.preflight import counting
from engine.preflight.lengths import Lengths, measure
from tests.benchmarks.validation import write


def timed(name: str, work: Any) -> Any:
    """What it returns; its seconds are printed."""
    begun = time.monotonic()
    found = work()
    more = ""
    if isinstance(found, Lengths):
        kind = "by a sample" if found.estimated else "exact"
        more = (
            f"   {found.counted:,} of {found.rows:,} rows, {found.tokens:,} tokens, {kind}; suggested {found.suggested}"
        )
    print(f"{name:<34}{time.monotonic() - begun:8.2f} s{more}", flush=True)
    return found


def peak(pid: int) -> float:
    """Megabytes that a process has held at most."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=100)
    parser.add_argument("--model", default=str(paths.sample_data_dir() / "tiny-qwen2"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "data.jsonl"
        rows = write(file, options.mb * 1_000_000)
        paths.cache_dir = lambda: Path(folder) / "cache"
        print(f"{file.stat().st_size / 1e6:.0f} MB, {rows:,} rows")
        config = parse({"base_model": options.model, "train_path": str(file), "output_dir": str(Path(folder) / "out")})
        report = timed(
            "check of the data", lambda: check_sources(config.train_path, reading=Reading.of(config.model_dump()))
        )
        inspector = Inspector()
        try:
            timed("the inspector starts", lambda: inspector.ask("open", 120.0, model=model_fields(config)))
            guess = timed("lengths by a sample", lambda: measure(inspector, config, report, sample=True))
            exact = timed("lengths of all rows", lambda: measure(inspector, config, report))
            other = config.model_copy(update={"max_seq_length": 700})
            timed("with another max_seq_length", lambda: measure(inspector, other, report))
            counting._counts.clear()
            again = timed("from the cache on the disk", lambda: measure(inspector, config, report))
            assert again == exact and not exact.estimated
            off = abs(guess.tokens - exact.tokens) / exact.tokens
            kept = sum(path.stat().st_size for path in (paths.cache_dir() / "lengths").iterdir())
            print(f"the sample's tokens are off by {off:.1%}; the cache takes {kept / 1e6:.2f} MB")
            own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"peak memory: {own:.0f} MB here, {peak(inspector.pid or 0):.0f} MB in the inspector")
        finally:
            inspector.close()


if __name__ == "__main__":
    main()

"""``python -m tests.faults``: run a portion of the fault suite, or print the table of all that was run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults import portions, table
from tests.faults.registry import FAULTS
from tests.faults.trial import Trial


def main() -> int:
    """Run a portion (``--fault``), or print the summed table (``--sum``); 1 if a trial was bad."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--fault", choices=sorted(FAULTS), help="which fault")
    parser.add_argument("--trials", type=int, help="how many trials; without it, all that are left of the full table")
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first trial")
    parser.add_argument("--jobs", type=int, default=1, help="how many trials side by side")
    parser.add_argument("--results", type=Path, default=table.default_results(), help="file to append to and to sum")
    parser.add_argument("--keep", type=Path, help="keep the folders of bad trials here")
    parser.add_argument("--sum", action="store_true", help="print the table of all results")
    parser.add_argument("--list", action="store_true", help="list the faults")
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        portions.do(options.do[0], [int(word) for word in options.do[1:]], options.folder)
        return 0
    if options.list:
        for fault in FAULTS.values():
            print(f"{fault.name:14} {fault.total:6} trials  {(fault.doer.__doc__ or '').strip()}")
    totals = {fault.name: fault.total for fault in FAULTS.values()}
    bad = 0
    if options.fault:
        fault = FAULTS[options.fault]
        count = fault.total - options.first if options.trials is None else options.trials

        def done(trials: list[Trial]) -> None:
            nonlocal bad
            table.append(options.results, trials)
            for trial in trials:
                bad += not trial.ok and not trial.skipped
                word = "good" if trial.ok else "skipped" if trial.skipped else "BAD"
                if fault.batch == 1 or not trial.ok:
                    print(
                        f"{trial.fault} {trial.number} {word} {trial.seconds:.1f} s [{trial.where}] {trial.outcome}",
                        flush=True,
                    )

        portions.run(
            options.fault, range(options.first, options.first + count), jobs=options.jobs, keep=options.keep, done=done
        )
    if options.sum:
        print(table.summed(table.read(options.results), totals))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

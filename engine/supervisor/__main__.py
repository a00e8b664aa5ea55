"""``python -P -m engine.supervisor DIR``: forks into the background, takes the run's lock, guards the run."""

from __future__ import annotations

import os
import signal
import sys

from engine import detach, runlock
from engine.errors import RunInUseError
from engine.rundir import RunDir


def main() -> int:
    """Entry point; the parent returns at once, the child lives as long as the run."""
    run = RunDir(sys.argv[1])
    if not run.exists:
        print(f"{run.path} holds no run to supervise", file=sys.stderr)
        return 2
    try:
        lock = _inherited_lock(run)
        if lock is None:
            lock = run.acquire_lock()
    except (RunInUseError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if os.fork():
        os._exit(0)  # the lock lives on in the child
    runlock.write_owner(run.lock, lock)
    # Nothing that happens to a terminal or to a login reaches the run.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # Not SIG_IGN, which the worker would inherit and be deaf to stop-now.
    signal.signal(signal.SIGINT, lambda *_: None)
    detach.enter_scope(str((run.read_run() or {}).get("id") or ""), os.getpid())
    from engine.supervisor.guard import Guard

    return Guard(run, lock).watch()


def _inherited_lock(run: RunDir) -> int | None:
    """The descriptor that the launcher handed over, if it really is this run's lock."""
    lock = runlock.inherited(run.lock, os.environ.pop("TUNEDECK_LOCK_FD", ""))
    if lock is not None:
        os.set_inheritable(lock, False)
    return lock


if __name__ == "__main__":
    sys.exit(main())

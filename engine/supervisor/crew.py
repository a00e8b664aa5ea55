"""The worker processes of one run: one, or one for each GPU. Knows who of them ended first, and ends the others then."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

from engine.rundir import RunDir, read_json

TICK_SECONDS = 0.2
# How long the others may go on after one has ended: by a fault, asked to end, with all done (the first still writes).
FAULT_SECONDS, ASKED_SECONDS, DONE_SECONDS = 3.0, 15.0, 120.0
_DONE, _STOPPED, _TERMINATED = 0, 130, 143


class Crew:
    """Starts the workers of a run and waits for them. Rank 0 writes the run's events."""

    def __init__(self, run: RunDir, ranks: int) -> None:
        self.run, self.ranks = run, ranks
        self.processes: list[subprocess.Popen[bytes]] = []
        self._doors: list[int | None] = []
        # The ranks in the order in which they ended by themselves, with the time.
        self._ended: dict[int, float] = {}

    def start(
        self, command: list[str], log: int, folder: str, env: dict[str, str], descriptors: tuple[int, ...]
    ) -> None:
        """Start every worker; raises :class:`OSError` or :class:`ValueError` if one cannot be started, and then none runs."""
        with _MeetingPoint(self.ranks) as meeting:
            for rank in range(self.ranks):
                passed = descriptors if rank or meeting is None else (*descriptors, meeting.fileno())
                try:
                    worker = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                        pass_fds=passed,
                        cwd=folder,
                        env={**env, **_of_rank(rank, self.ranks, meeting)},
                    )
                except (OSError, ValueError):
                    self.signal(signal.SIGKILL)
                    for started in self.processes:
                        started.wait()
                    raise
                self.processes.append(worker)
                self._doors.append(_door(worker.pid))

    @property
    def pids(self) -> list[int]:
        """Process ids by rank."""
        return [worker.pid for worker in self.processes]

    def signal(self, number: int) -> None:
        """To every worker and all that it started: data loaders must not outlive it with GPU memory in their hands."""
        for worker in self.processes:
            try:  # our own child, not yet waited for: its pid and process group cannot be anybody else's
                os.killpg(worker.pid, number)
            except (ProcessLookupError, PermissionError):
                pass

    def is_over(self) -> bool:
        """Whether all have ended, or one did so long ago that the others will not end by themselves any more."""
        now = time.monotonic()
        for rank, worker in enumerate(self.processes):
            if rank not in self._ended and _has_ended(worker.pid):
                self._ended[rank] = now
        if len(self._ended) == len(self.processes):
            return True
        return any(now - since > _patience(_peek(self.processes[rank].pid)) for rank, since in self._ended.items())

    def sleep(self) -> None:
        """Until one more worker ends, but at most one tick."""
        waiting = [door for rank, door in enumerate(self._doors) if rank not in self._ended]
        if not waiting or None in waiting:
            time.sleep(TICK_SECONDS)
            return
        poller = select.poll()
        for door in waiting:
            poller.register(door, select.POLLIN)  # type: ignore[arg-type]
        poller.poll(TICK_SECONDS * 1000)

    def wait(self, attempt: int) -> tuple[int, int]:
        """End all that is left; the rank by which the run's end is judged, and its exit code (negative: a signal)."""
        # Not yet waited for, so their numbers, and their groups', are still their own.
        by_themselves = list(self._ended)
        self.signal(signal.SIGKILL)
        codes = {rank: worker.wait() for rank, worker in enumerate(self.processes)}
        for door in self._doors:
            if door is not None:
                os.close(door)
        judged = self._judged({rank: codes[rank] for rank in by_themselves}, attempt)
        return judged, codes[judged]

    def _judged(self, codes: dict[int, int], attempt: int) -> int:
        """Who tells why the run ended, of those that ended by themselves: not one that only missed another."""
        faults = {rank: code for rank, code in codes.items() if code not in (_DONE, _STOPPED, _TERMINATED)}
        if not faults or len(self.processes) == 1:
            return 0 if 0 in codes or not codes else min(codes)
        signalled = [rank for rank, code in faults.items() if code < 0]
        if signalled:
            return signalled[0]
        told = {rank: last_word(self.run, rank, attempt) for rank in faults}
        own = [rank for rank in faults if told[rank] is not None and not (told[rank] or {}).get("missed_another")]
        return min(own) if own else next((rank for rank in faults if told[rank] is None), next(iter(faults)))


def last_word(run: RunDir, rank: int, attempt: int) -> dict[str, object] | None:
    """What a worker of several said at its end (``state``, ``reason``, ``missed_another``); ``None`` if it said nothing."""
    word = read_json(word_file(run, rank))
    return word if word is not None and word.get("attempt") == attempt else None


def word_file(run: RunDir, rank: int) -> Path:
    """Where a worker of several leaves its last word."""
    return run.meta / f"rank-{rank}.json"


def _patience(code: int) -> float:
    if code == _DONE:
        return DONE_SECONDS
    return ASKED_SECONDS if code in (_STOPPED, _TERMINATED) else FAULT_SECONDS


def _has_ended(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _peek(pid: int) -> int:
    """The exit code of a worker that has ended and is not yet waited for; negative for a signal."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return _DONE
    if found is None:
        return _DONE
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _door(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


class _MeetingPoint:
    """A socket of this machine alone on which rank 0 listens for the others, opened here so that its port is surely free."""

    def __init__(self, ranks: int) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=max(64, 2 * ranks)) if ranks > 1 else None

    def __enter__(self) -> socket.socket | None:
        return self._socket

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()


def _of_rank(rank: int, ranks: int, meeting: socket.socket | None) -> dict[str, str]:
    """What torchrun would tell this worker, and where it finds the others; nothing for a worker that is alone."""
    if meeting is None:
        return {}
    port = str(meeting.getsockname()[1])
    told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0,
            "TUNEDECK_RANKS": ranks}  # fmt: skip
    more = {} if rank else {"TUNEDECK_MEETING_FD": str(meeting.fileno())}
    threads = (
        {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // ranks))}
    )
    inside = {} if "GLOO_SOCKET_IFNAME" in os.environ else {"GLOO_SOCKET_IFNAME": "lo"}
    return {**{name: str(value) for name, value in told.items()}, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **more,
            **threads, **inside}  # fmt: skip

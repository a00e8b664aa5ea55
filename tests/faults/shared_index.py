"""Two apps and three command lines on one index while runs come, change, move and go, and the index is damaged.

Every number of a run follows from its step, and every change is one rename, so that each row tells which state of the
directory it shows. Whatever is listed must have been so at some moment between the question and the answer; whatever
stood all that time must be listed; no process may say anything of locks. Run: python -m tests.faults.shared_index SECONDS
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RUNS = 150
Seen = tuple[str, int | None, float | None, int | None]
NEVER = float("inf")


@dataclass
class Truth:
    """What stood at each path: (from when, until when, its step); moments are outer bounds of each rename."""

    states: dict[str, list[list[float]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def change(self, path: Path, step: int | None, work: Any) -> None:
        """Do a change: the old state may be seen until it is done, the new one (none: nothing is there) from its beginning."""
        began = time.time()
        work()
        ended = time.time()
        with self.lock:
            states = self.states.setdefault(str(path), [])
            if states and states[-1][1] == NEVER:
                states[-1][1] = ended
            if step is not None:
                states.append([began, NEVER, step])

    def wrong(self, began: float, ended: float, rows: list[Seen]) -> list[str]:
        """What cannot have been so between two moments."""
        with self.lock:
            states = {path: [list(state) for state in some] for path, some in self.states.items()}
        found = []
        for path, step, loss, points in rows:
            was = [s for f, u, s in states.get(path, []) if f <= ended and u >= began]
            if not was:
                found.append(f"{path} was listed, and was not there")
            elif step not in was:
                found.append(f"{path} was listed with step {step}, and had {was}")
            elif loss != loss_of(int(step or 0)) or points != step:
                found.append(f"{path} was listed with step {step}, loss {loss}, {points} points: a mixture")
        listed = {row[0] for row in rows}
        for path, some in states.items():
            # Pieces of one path that touch: it was there all the time, with this step or that.
            at = began
            for f, u, _ in some:
                if f <= at < u:
                    at = u
            if at >= ended and path not in listed and any(f <= began for f, _, _ in some):
                found.append(f"{path} was there, and was not listed")
        if len(listed) != len(rows):
            found.append("a run was listed twice")
        return found


def loss_of(step: int) -> float:
    """The last loss of a run of so many steps."""
    return round(1 + 1 / (step + 1), 6)


def write(folder: Path, step: int) -> None:
    """A run of the Trainer, in a folder that nobody sees yet."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 8, "base_model_name_or_path": "m"})
    )
    state(folder / "trainer_state.json", step)


def state(file: Path, step: int) -> None:
    """Its state."""
    rows = [{"step": i, "epoch": i / 10, "loss": loss_of(i)} for i in range(1, step + 1)]
    file.write_text(json.dumps({"global_step": step, "max_steps": 1000, "log_history": rows}))


class Churn(threading.Thread):
    """Changes runs until it is told to end."""

    def __init__(self, root: Path, aside: Path, cache: Path, truth: Truth, damage: bool) -> None:
        super().__init__(daemon=True)
        self.root, self.aside, self.cache, self.truth, self.damage = root, aside, cache, truth, damage
        self.dice, self.number, self.over = random.Random(5), 0, threading.Event()
        self.there: dict[Path, int] = {}
        self.did: Counter[str] = Counter()

    def run(self) -> None:
        while not self.over.wait(0.01):
            deeds = [self.grow] * 8 + [self.come, self.go, self.move, self.again] + [self.harm] * self.damage
            deed = self.dice.choice(deeds)
            if deed == self.harm and self.dice.random() < 0.7:
                continue
            deed()
            self.did[deed.__name__] += 1

    def _any(self) -> Path:
        return self.dice.choice([*self.there])

    def _new(self) -> tuple[Path, int]:
        self.number += 1
        folder, step = self.aside / str(self.number), self.dice.randrange(1, 40)
        write(folder, step)
        return folder, step

    def come(self) -> None:
        """One more run."""
        if len(self.there) < 2 * RUNS:
            folder, step = self._new()
            path = self.root / f"group{self.number % 7}" / f"run{self.number}"
            path.parent.mkdir(exist_ok=True)
            self.truth.change(path, step, lambda: folder.rename(path))
            self.there[path] = step

    def go(self) -> None:
        """One run less."""
        if len(self.there) > RUNS // 2:
            path = self._any()
            self.number += 1
            self.truth.change(path, None, lambda: path.rename(self.aside / f"gone{self.number}"))
            del self.there[path]
            shutil.rmtree(self.aside / f"gone{self.number}")

    def grow(self) -> None:
        """A run goes on."""
        path = self._any()
        step = self.there[path] + self.dice.randrange(1, 4)
        file = self.aside / "state"
        state(file, step)
        self.truth.change(path, step, lambda: file.rename(path / "trainer_state.json"))
        self.there[path] = step

    def move(self) -> None:
        """A run gets another name: it is a new one there."""
        path = self._any()
        self.number += 1
        target, step = path.with_name(f"moved{self.number}"), self.there.pop(path)
        began = time.time()
        self.truth.change(path, None, lambda: path.rename(target))
        self.truth.change(target, step, lambda: None)
        with self.truth.lock:
            self.truth.states[str(target)][-1][0] = began
        self.there[target] = step

    def again(self) -> None:
        """Another run in the same place."""
        path = self._any()
        folder, step = self._new()
        gone = self.aside / f"old{self.number}"
        self.truth.change(path, None, lambda: path.rename(gone))
        self.truth.change(path, step, lambda: folder.rename(path))
        self.there[path] = step
        shutil.rmtree(gone)

    def harm(self) -> None:
        """The index is deleted, cut off or replaced."""
        try:
            how = self.dice.randrange(3)
            if how == 0:
                self.cache.unlink()
            elif how == 1:
                os.truncate(self.cache, self.dice.randrange(1 + self.cache.stat().st_size))
            else:
                other = self.aside / "noise"
                other.write_bytes(os.urandom(9000))
                other.rename(self.cache)
        except OSError:
            pass


def app(root: str, seconds: str) -> None:
    """Like an app: one list, fed by one scan after the other. Prints what it showed after each."""
    from engine.history.index import Index, Scanner

    index = Index()
    scanner, end = Scanner(index, lambda: [Path(root)], registered=False), time.time() + float(seconds)
    shown = {run.path: run for run in scanner.rows()}
    while time.time() < end:
        began = time.time()
        for batch in scanner.scan():
            shown.update((run.path, run) for run in batch.changed)
            for path in batch.gone:
                del shown[path]
        assert not batch.unreachable, batch.unreachable
        rows = [(run.path, run.step, run.last_loss, run.points) for run in shown.values()]
        print(json.dumps([began, time.time(), rows, index.refusals]), flush=True)
        index.refusals = 0
        time.sleep(0.05)
    scanner.close()


def commands(root: Path, end: float, answers: list[Any]) -> None:
    """Like a person at a command line: asks again and again."""
    while time.time() < end:
        began = time.time()
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tui", "runs", str(root), "--json"], capture_output=True, text=True
        )
        ended = time.time()
        if done.returncode or done.stderr:
            answers.append(f"the command ended with {done.returncode}: {done.stderr[-300:]}")
            continue
        rows = [(run["path"], run["step"], run["last_loss"], run["points"]) for run in json.loads(done.stdout)]
        answers.append((began, ended, rows, 0))


def trial(seconds: float, *, apps: int = 2, lines: int = 3, damage: bool = True) -> tuple[list[str], str]:
    """What was wrong, and what was done."""
    with tempfile.TemporaryDirectory() as name:
        root, aside = Path(name, "runs"), Path(name, "aside")
        root.mkdir(), aside.mkdir()
        for kind in ("CACHE", "STATE", "CONFIG"):
            os.environ[f"XDG_{kind}_HOME"] = str(Path(name, kind.lower()))
        truth = Truth()
        churn = Churn(root, aside, Path(name, "cache", "tunedeck", "history.sqlite3"), truth, damage)
        for _ in range(RUNS):
            churn.come()
        churn.start()
        code = "import sys; from tests.faults.shared_index import app; app(*sys.argv[1:])"
        started = [subprocess.Popen([sys.executable, "-c", code, str(root), str(seconds)], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True) for _ in range(apps)]  # fmt: skip
        answers: list[Any] = []
        asking = [threading.Thread(target=commands, args=(root, time.time() + seconds, answers)) for _ in range(lines)]
        for thread in asking:
            thread.start()
        outputs = [process.communicate(timeout=seconds + 60) for process in started]
        for thread in asking:
            thread.join()
        churn.over.set()
        churn.join()
        return judged(truth, started, outputs, answers, churn.did)


def judged(
    truth: Truth, started: list[Any], outputs: list[Any], answers: list[Any], did: Counter[str]
) -> tuple[list[str], str]:
    """Every answer against what was so."""
    wrong, scans, rows = [], 0, 0
    for process, (out, err) in zip(started, outputs, strict=True):
        if process.returncode or err:
            wrong.append(f"an app ended with {process.returncode}: {err[-500:]}")
        answers += [json.loads(line) for line in out.splitlines()]
        scans += len(out.splitlines())
    for answer in answers:
        if isinstance(answer, str):
            wrong.append(answer)
            continue
        began, ended, found, refusals = answer
        rows += len(found)
        wrong += truth.wrong(began, ended, [tuple(row) for row in found])
        wrong += [f"{refusals} times the index was given up as locked"] * bool(refusals)
    deeds = ", ".join(f"{name} {number}" for name, number in sorted(did.items()))
    told = f"{scans} scans of apps, {len(answers) - scans} commands, {rows:,} rows checked; changes: {deeds}"
    if not scans or len(answers) == scans:
        wrong.append("nobody asked")
    return wrong, told


def main() -> int:
    """Print what was wrong; the exit code is 1 if anything was."""
    wrong, told = trial(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0)
    print(told)
    for line in wrong[:20]:
        print(f"WRONG: {line}")
    print(f"{len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

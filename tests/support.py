"""Builders and waiters shared by the tests."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import process
from engine.events import EventWriter
from engine.rundir import RunDir, new_run_id, write_json


async def until(pilot: Any, predicate: Callable[[], Any], seconds: float = 10.0) -> None:
    """Let the app work until the predicate holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, f"never became true within {seconds} s: {predicate}"
        await pilot.pause(0.02)


def wait_for(predicate: Callable[[], Any], seconds: float = 10.0, every: float = 0.02) -> Any:
    """Block until the predicate holds and return its value; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < deadline, f"never became true within {seconds} s: {predicate}"
        time.sleep(every)


_held: dict[Path, int] = {}


def make_run(
    path: Path,
    *,
    steps: int = 50,
    total: int | None = None,
    state: str = "completed",
    reason: str = "",
    name: str | None = None,
    base_model: str = "Qwen/Qwen2.5-0.5B",
    created: float = 1_790_000_000.0,
    step_seconds: float = 0.5,
    evals: int = 5,
    run_id: str | None = None,
    config: dict[str, Any] | None = None,
) -> RunDir:
    """A run directory as the engine leaves it, with a falling loss; live states name this process as theirs."""
    run = RunDir(path)
    run.make()
    if run.path in _held:
        run.release_lock(_held.pop(run.path))
    total = total or steps
    settings = {"base_model": base_model, "train_path": "train.jsonl", "output_dir": str(path), **(config or {})}
    write_json(run.run_json, {"format": 1, "id": run_id or new_run_id(created), "name": name or path.name,
                              "created": created, "config": settings, "host": process.host()})  # fmt: skip
    writer = EventWriter(run.events)
    losses = [2.5 * 0.97**i + 0.4 + 0.05 * ((i * 7919) % 13 - 6) / 6 for i in range(steps)]
    lines = []
    for i, loss in enumerate(losses, 1):
        lines.append({"type": "step", "time": created + 20 + i * step_seconds, "attempt": 1, "step": i,
                      "total_steps": total, "epoch": 3 * i / total, "loss": loss, "learning_rate": 1e-4 * (1 - i / (total + 1)),
                      "grad_norm": 1.0 + 0.1 * (i % 5), "samples_per_second": 4 / step_seconds,
                      "tokens_per_second": 900.0, "num_tokens": 450 * i, "step_seconds": step_seconds,
                      "gpu_memory_allocated": None, "gpu_memory_reserved": None, "gpu_memory_peak": None,
                      "host_memory": 900_000_000 + 1_000_000 * (i % 7)})  # fmt: skip
        if evals and i % max(1, steps // evals) == 0:
            lines.append({"type": "eval", "time": created + 20 + i * step_seconds, "attempt": 1, "step": i,
                          "epoch": 3 * i / total, "eval_loss": loss + 0.1})  # fmt: skip
    from engine.events import encode

    run.events.write_bytes(b"".join(encode(line) for line in lines))
    writer.close()
    live = state in ("starting", "running", "stopping", "queued")
    eval_losses = [line["eval_loss"] for line in lines if line["type"] == "eval"]
    status: dict[str, Any] = {
        "state": state, "reason": reason, "resumable": False, "step": steps, "total_steps": total, "attempts": 1,
        "epoch": 3 * steps / total, "created": created, "started": created + 10,
        "ended": None if live else created + 20 + steps * step_seconds, "heartbeat": time.time() if live else None,
        "last_loss": losses[-1] if losses else None, "best_loss": min(losses, default=None),
        "last_eval_loss": eval_losses[-1] if eval_losses else None,
        "best_eval_loss": min(eval_losses, default=None), "points": steps,
    }  # fmt: skip
    import os

    status.update(process.identity(os.getpid()))
    if live:
        _held[run.path] = run.acquire_lock()  # as the process that is recorded, this one, would hold it
    write_json(run.status_json, status)
    run.train_log.write_text("Loading the model\nTraining started\n", encoding="utf-8")
    return run


def append_step(run: RunDir, step: int, loss: float, **more: Any) -> None:
    """One more step event, now."""
    writer = EventWriter(run.events)
    writer.write("step", step=step, total_steps=more.pop("total_steps", 100), loss=loss, learning_rate=1e-4, **more)
    writer.close()


def read_events(run: RunDir) -> list[dict[str, Any]]:
    """All events of a run, checked as strict JSON."""

    def refuse(word: str) -> None:
        raise AssertionError(f"not strict JSON: {word}")

    lines = run.events.read_text(encoding="utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


ROW = {"messages": [{"role": "user", "content": "hi 안녕"}, {"role": "assistant", "content": "hello 반가워요"}]}


def _row(number: int) -> dict[str, Any]:
    question, answer = ROW["messages"]
    return {
        "messages": [
            {**question, "content": f"{question['content']} {number}" if number else question["content"]},
            answer,
        ]
    }


def write_rows(path: Path, rows: list[Any] | int = 8) -> Path:
    """A chat file; a number makes that many good rows, no two alike."""
    items = [_row(number) for number in range(rows)] if isinstance(rows, int) else rows
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in items), encoding="utf-8")
    return path


def fake_model(path: Path) -> Path:
    """A directory that looks like a model to every check that loads nothing."""
    import struct

    path.mkdir(parents=True)
    (path / "config.json").write_text('{"model_type": "qwen2"}')
    (path / "tokenizer.json").write_text("{}")
    (path / "chat_template.jinja").write_text("{{ messages }}")
    layers = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    header = {f"model.layers.0.x.{n}.weight": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
              for i, n in enumerate(layers)}  # fmt: skip
    body = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(body)) + body + bytes(len(layers)))
    return path


FAKE_HEAD = """#!{python}
# Stands in for a worker's interpreter: called with -P -m engine.worker DIR.
import os, signal, sys, time
if "engine.worker" not in sys.argv:
    sys.exit("this interpreter only trains")
sys.path.insert(0, {root!r})
from engine.events import EventWriter
from engine.rundir import RunDir
run = RunDir(sys.argv[-1])
events = EventWriter(run.events, attempt=int(os.environ["TUNEDECK_ATTEMPT"]))
def step(n, total=10, loss=None):
    events.write("step", step=n, total_steps=total, epoch=n / total, loss=1 / n if loss is None else loss,
                 learning_rate=1e-4, grad_norm=1.0, step_seconds=0.01)
def wait_for_stop():
    while "stop" not in run.requests():
        time.sleep(0.01)
    run.take("stop")
"""


def fake_python(path: Path, body: str) -> Path:
    """An executable that the supervisor takes for the worker's Python; ``body`` is what the worker does."""
    import sys

    head = FAKE_HEAD.format(python=sys.executable, root=str(Path(__file__).parent.parent))
    path.write_text(head + body)
    path.chmod(0o755)
    return path


def launch_fake(folder: Path, body: str, **values: Any) -> RunDir:
    """Launch a real supervisor over a worker that does ``body``."""
    from engine.config import parse
    from engine.launchers import launch

    folder.mkdir(parents=True, exist_ok=True)
    model = folder / "model"
    if not model.exists():
        fake_model(model)
        write_rows(folder / "train.jsonl")
    settings = {"base_model": str(model), "train_path": str(folder / "train.jsonl"), "output_dir": str(folder / "out"),
                "worker_python": str(fake_python(folder / "python", body)), **values}  # fmt: skip
    return launch(parse(settings))


def ended(run: RunDir, seconds: float = 10.0) -> dict[str, Any]:
    """Wait for the recorded end of a run and return its status."""
    from engine import status as states

    return wait_for(lambda: (s := run.read_status()) and s.get("state") in states.ENDED and s, seconds)

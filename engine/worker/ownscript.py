"""The run directory of a training script that tunedeck did not start: record, status and end, kept by the callback."""

from __future__ import annotations

import atexit
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from engine import __version__, process, registry
from engine import status as states
from engine.checkpoints import newest_valid
from engine.rundir import FORMAT, RunDir, new_run_id, write_json
from engine.text import clean
from engine.worker.recorder import Recorder

STATUS_SECONDS = 1.0
# TrainingArguments and LoraConfig names whose settings are called otherwise here.
_RENAMED = {"per_device_train_batch_size": "batch_size", "max_length": "max_seq_length", "r": "lora_r"}
_ARGUMENTS = ("learning_rate", "num_train_epochs", "max_steps", "gradient_accumulation_steps", "save_steps", "logging_steps",
              "seed", "data_seed", "lr_scheduler_type", "weight_decay", "max_grad_norm", "per_device_train_batch_size",
              "per_device_eval_batch_size", "max_length", "packing", "padding_free", "assistant_only_loss", "warmup_steps",
              "gradient_checkpointing", "neftune_noise_alpha", "optim", "bf16", "fp16")  # fmt: skip
_LORA = ("r", "lora_alpha", "lora_dropout", "target_modules", "modules_to_save", "bias", "use_dora", "use_rslora")


# Runs of this process that have not ended, by directory.
_open_runs: dict[str, OwnScriptRun] = {}


class OwnScriptRun:
    """A run that writes its own status; a SIGKILL of it reads as lost."""

    def __init__(self, run: RunDir, recorder: Recorder, lock: int, record: dict[str, Any]) -> None:
        self.run = run
        self.recorder = recorder
        self._lock = lock
        self._ended = False
        self._pid = os.getpid()
        self._checkpoints: Path | None = None
        self._last_write = 0.0
        self._status: dict[str, Any] = {
            "format": FORMAT, "state": states.RUNNING, "reason": "", "resumable": False, "attempts": 1, "points": 0,
            "created": record["created"], "started": time.time(), "ended": None, "exit_code": None, "signal": None,
            **process.identity(os.getpid()), "ranks": [{"rank": 0, "pid": os.getpid()}], "supervisor_pid": None,
            "step": 0, "total_steps": None, "epoch": None, "last_loss": None, "best_loss": None, "last_eval_loss": None,
            "best_eval_loss": None,
        }  # fmt: skip

    @classmethod
    def begin(cls, output_dir: str | os.PathLike[str], args: Any, model: Any, name: str | None) -> OwnScriptRun:
        """Set an earlier record aside and start a new one.

        Raises :class:`engine.errors.RunInUseError` if another process still trains there.
        """
        run = RunDir(output_dir)
        run.path.mkdir(parents=True, exist_ok=True)
        earlier = _open_runs.pop(str(run.path), None)
        if earlier is not None and not earlier._ended:
            earlier._finish(states.FAILED, "training was begun again before it had ended")
        lock = _take_over(run)
        record = _record(run, args, model, name)
        try:
            write_json(run.run_json, record)
        except BaseException:
            run.release_lock(lock)
            raise
        registry.remember_run(record["id"], run.path)
        recorder = Recorder(run)
        recorder.start_beating()
        own = _open_runs[str(run.path)] = cls(run, recorder, lock, record)
        own._write(force=True)
        recorder.write("state", state=states.RUNNING, reason="")
        atexit.register(own._at_exit)
        return own

    def progress(self, step: int, total: int, epoch: float | None, loss: float | None) -> None:
        """Note a step; the status file follows at most once a second."""
        best = self._status["best_loss"]
        finite = loss is not None and math.isfinite(loss)
        self._status.update(
            step=step, total_steps=total, epoch=epoch, last_loss=loss, points=self._status["points"] + 1,
            best_loss=loss if finite and (best is None or loss < best) else best,
        )  # fmt: skip
        self._write()

    def evaluated(self, loss: float) -> None:
        """Note an evaluation."""
        best = self._status["best_eval_loss"]
        better = math.isfinite(loss) and (best is None or loss < best)
        self._status.update(last_eval_loss=loss, best_eval_loss=loss if better else best)

    def saved(self, folder: Path) -> None:
        """Note that the trainer has saved a checkpoint in ``folder``."""
        self._checkpoints = folder
        self._status["resumable"] = newest_valid(folder) is not None
        self._write(force=True)

    def end(self, stop_reason: str, state: Any, failure: str = "") -> None:
        """Training has ended by itself: completed, failed, or stopped on request or early by the host's own rule."""
        if failure:
            self._finish(states.FAILED, failure)
        elif stop_reason:
            self._finish(states.STOPPED, stop_reason)
        elif state.max_steps and state.global_step < state.max_steps:
            self._finish(states.STOPPED, f"the script stopped early, at step {state.global_step} of {state.max_steps}")
        else:
            self._finish(states.COMPLETED, "")

    def _at_exit(self) -> None:
        if not self._ended and os.getpid() == self._pid:  # a fork of the script is not the script
            error = getattr(sys, "last_value", None)
            what = f"{type(error).__name__}: {error}" if error is not None else "the script ended before training did"
            self._finish(states.FAILED, clean(what, 500))

    def _finish(self, state: str, reason: str) -> None:
        self._ended = True
        _open_runs.pop(str(self.run.path), None)
        if self._checkpoints is not None:
            self._status["resumable"] = newest_valid(self._checkpoints) is not None
        self._status.update(state=state, reason=reason, ended=time.time())
        self.recorder.write("state", state=state, reason=reason)
        self._write(force=True)
        self.recorder.close()
        self.run.release_lock(self._lock)

    def _write(self, force: bool = False) -> None:
        now = time.time()
        if force or now - self._last_write >= STATUS_SECONDS:
            self._last_write = now
            self._status["heartbeat"] = now
            try:
                write_json(self.run.status_json, self._status, durable=force)
            except OSError as error:
                print(f"tunedeck: status.json could not be written: {error}", file=sys.stderr)


def _take_over(run: RunDir) -> int:
    """Lock an empty record for this process; an earlier one is moved aside only while its lock is held."""
    if run.meta.exists():
        held = run.acquire_lock()
        try:
            run.set_aside()
        finally:
            os.close(held)
    run.make(exclusive=True)
    return run.acquire_lock()


def _record(run: RunDir, args: Any, model: Any, name: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {"output_dir": str(run.path)}
    for key in _ARGUMENTS:
        value = getattr(args, key, None)
        if value is not None:
            config[_RENAMED.get(key, key)] = value if isinstance(value, int | float | str | bool) else str(value)
    base = getattr(model, "name_or_path", None) or getattr(getattr(model, "config", None), "_name_or_path", None)
    for peft in list(getattr(model, "peft_config", {}).values())[:1]:
        base = getattr(peft, "base_model_name_or_path", None) or base
        for key in _LORA:
            value = getattr(peft, key, None)
            if value is not None:
                config[_RENAMED.get(key, key)] = sorted(value) if isinstance(value, set | frozenset) else value
    config["base_model"] = base
    return {
        "format": FORMAT, "id": new_run_id(), "name": name or getattr(args, "run_name", None) or run.path.name,
        "created": round(time.time(), 3), "owner": os.environ.get("USER") or str(os.getuid()), "host": process.host(),
        "config": config, "auto": {}, "data": {}, "versions": versions(), "git_commit": None,
        "working_directory": str(Path.cwd()), "command": " ".join([sys.executable, *sys.argv]),
        "launcher": {"kind": "own script", "job_id": None}, "parent": None,
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of everything that shapes a result and is loaded now."""
    found = {"tunedeck": __version__, "python": sys.version.split()[0]}
    for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "liger_kernel"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if version:
            found[name] = str(version)
    return found

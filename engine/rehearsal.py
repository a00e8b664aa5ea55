"""A dry run: two real steps over the longest rows in a process of its own, which leaves nothing but what it measured."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from engine import hardware, paths, process
from engine.config import RunConfig
from engine.errors import InputError, Problem
from engine.hardware import Gpu
from engine.inspecting import InspectError, model_fields
from engine.paths import expand
from engine.preflight import Preflight, check, is_local_model
from engine.queue import slots
from engine.rundir import write_atomic
from engine.supervisor.environment import worker_environment
from engine.text import clean

Tell = Callable[[str, int, int], None]
_LOOK_SECONDS = 0.05
_KEPT_FILES = 200
# What changes neither the memory nor the time of a step.
_NO_MATTER = {"base_model", "revision", "train_path", "eval_path", "output_dir", "run_name", "num_train_epochs", "max_steps",
              "save_steps", "save_total_limit", "logging_steps", "eval_steps", "report_to", "notify", "on_end", "share", "queue",
              "learning_rate", "lr_scheduler_type", "warmup_ratio", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon",
              "on_nonfinite", "load_best_model_at_end", "early_stopping_patience", "early_stopping_threshold",
              "sample_prompts", "sample_max_new_tokens", "gpus", "worker_python", "chat_template_path"}  # fmt: skip
_PACKAGES = ("tunedeck", "torch", "transformers", "trl", "peft", "accelerate", "liger-kernel", "bitsandbytes")


class Refusal(InspectError):
    """A dry run that came to nothing; ``needed`` are the bytes of GPU memory that it wanted at least, where it was that."""

    def __init__(self, problem: Problem, needed: int | None = None) -> None:
        super().__init__(problem)
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was measured. Memory in bytes (``None`` without a GPU), times in seconds.

    ``peak`` is what tensors took at most, over loading, steps and one batch of an evaluation, ``reserved`` what torch held for
    them. ``step_seconds`` are of the second step, ``tokens_per_step`` its tokens without padding. ``longest`` is the longest
    row as it is trained, ``rows`` how many rows were stepped over, ``evaluated`` those of the evaluation. A usual step is one
    over rows as they come; there is none where rows are packed or the model is compiled. ``chosen`` is what each ``auto`` chose.
    """

    gpu: int | None
    gpu_name: str
    peak: int | None
    reserved: int | None
    host_peak: int | None
    step_seconds: float
    first_step_seconds: float
    load_seconds: float
    tokens_per_step: int
    tokens_per_second: float
    longest: int
    rows: int
    evaluated: int = 0
    usual_seconds: float | None = None
    usual_tokens: int | None = None
    chosen: dict[str, Any] | None = None

    @property
    def held(self) -> int | None:
        """Bytes of the GPU that a run cannot do without: the tensors, and what recorded passes keep for themselves."""
        recorded = self.chosen is not None and self.chosen.get("end_to_end") and self.chosen.get("cuda_graphs")
        return self.reserved if recorded else self.peak

    def holds_for(self, chosen: dict[str, Any]) -> bool:
        """Whether a run would be laid out as this was, by what ``auto`` chooses now: with other free memory it may not be."""
        then = self.chosen or chosen
        mine, now = (each.get("tokens_per_pass") or 0 for each in (then, chosen))
        alike = all(then.get(name) == chosen.get(name) for name in ("gradient_checkpointing", "end_to_end", "dtype"))
        return alike and abs(mine - now) <= 0.2 * max(mine, now)

    def seconds(self, steps: int, tokens: int) -> float:
        """Seconds of so many steps over so many tokens: what each step costs, and what each token adds to it."""
        base, each = 0.0, 1 / max(self.tokens_per_second, 1e-9)
        if self.usual_seconds is not None and self.usual_tokens:
            more, longer = self.tokens_per_step - self.usual_tokens, self.step_seconds - self.usual_seconds
            if more > 0.1 * self.usual_tokens:
                each = min(max(0.0, longer / more), self.usual_seconds / self.usual_tokens)
                base = self.usual_seconds - each * self.usual_tokens
            else:
                each = (self.step_seconds + self.usual_seconds) / (self.tokens_per_step + self.usual_tokens)
        return steps * base + tokens * each


def rehearse(config: RunConfig, *, tell: Tell | None = None, cancelled: threading.Event | None = None, timeout: float = 900.0,
             checked: Preflight | None = None) -> Rehearsal:  # fmt: skip
    """Do the first steps of a run over its longest rows, on the GPU that it would get; takes from seconds to a few minutes.

    ``tell`` is called with a phase and how much of it is done, in this thread. ``checked`` is the outcome of the light checks,
    if they ran. Raises :class:`engine.inspecting.InspectError`, of the kinds ``out-of-memory``, ``cancelled``, ``timeout``,
    ``cannot-train``, ``failed``, or what the checks refuse. Nothing is left behind but what :func:`remembered` gives back.
    """
    from engine.launchers.local import with_absolute_paths

    checked = check(config, new_output=False) if checked is None else checked
    errors = [problem for problem in checked.errors if problem.setting != "output_dir"]
    if errors:
        raise InspectError(errors)
    if any(problem.kind == "not-downloaded" for problem in checked.warnings):
        raise Refusal(Problem("not-downloaded", f"{config.base_model} is not on this machine, and a dry run fetches nothing",
                              "Download it first", setting="base_model"))  # fmt: skip
    if cancelled is not None and cancelled.is_set():
        raise _cancelled()
    card, devices = place(config)
    key = _key(config, checked, card)
    settled, code = _with_its_code(with_absolute_paths(config))
    folder = Path(tempfile.mkdtemp(prefix="tunedeck-dryrun-"))
    try:
        request = {"settings": settled.model_dump(mode="json"), "folder": str(folder), "code": code}
        child = _Child(config, devices, folder, request)
        try:
            measured = child.follow(tell, cancelled, timeout)
        finally:
            child.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        found = _rehearsal({**measured, "gpu": card.index if card else None, "gpu_name": card.name if card else ""})
    except (TypeError, ValueError):
        raise Refusal(Problem("failed", "the dry run gave an answer that is none", "Check worker_python")) from None
    _remember(key, found)
    return found


def remembered(config: RunConfig, checked: Preflight | None = None) -> Rehearsal | None:
    """What a dry run of the same settings, model, data, libraries and card measured; ``None`` if there was none.

    Without ``checked``, the outcome of the light checks, the data are read for it.
    """
    folder = _folder()
    if not folder.is_dir():
        return None
    checked = check(config, new_output=False) if checked is None else checked
    key = _key(config, checked, place(config)[0])
    if key is None:
        return None
    try:
        return _rehearsal(orjson.loads((folder / f"{key}.json").read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def place(config: RunConfig) -> tuple[Gpu | None, str | None]:
    """The card that a run would get now, and what CUDA_VISIBLE_DEVICES has to say for it, ``None`` to leave it as it is.

    As the supervisor chooses: the cards that are named, or of those that may be seen the freest on which nobody computes.
    """
    cards, visible = slots.cards_now(), os.environ.get("CUDA_VISIBLE_DEVICES")
    wanted = slots.wish(config.gpus, cards, visible)
    if isinstance(config.gpus, list) and config.gpus:
        card = next((one for one in cards if one.index == config.gpus[0]), None)
        return card, ",".join(str(index) for index in config.gpus)
    there = [card for card in cards if slots.slot_name(card) in wanted.slots]
    card = hardware.freest([card for card in there if not card.processes] or there)
    if card is not None:
        return card, str(card.index)
    return None, slots.device(wanted.slots[0], cards, visible) if wanted.slots else None


class _Child:
    """The process that steps, and what it says."""

    def __init__(self, config: RunConfig, devices: str | None, folder: Path, request: dict[str, Any]) -> None:
        python = str(expand(config.worker_python)) if config.worker_python else sys.executable
        (folder / "tmp").mkdir()
        env = {**worker_environment(python, devices), "TMPDIR": str(folder / "tmp"), "HF_HUB_OFFLINE": "1",
               "HF_DATASETS_CACHE": str(folder / "tmp"), "HF_MODULES_CACHE": str(folder / "tmp")}  # fmt: skip
        try:
            self.process = subprocess.Popen(
                [python, "-P", "-m", "engine.worker.dryrun"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=env, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise Refusal(Problem("failed", f"the dry run cannot be started: {error.strerror or error}", "Check worker_python",
                                  setting="worker_python" if config.worker_python else None)) from None  # fmt: skip
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._said: deque[str] = deque(maxlen=20)
        self._threads = [threading.Thread(target=what, daemon=True) for what in (self._read, self._drain)]
        for thread in self._threads:
            thread.start()
        with contextlib.suppress(OSError, ValueError):  # that it has ended shows below
            assert self.process.stdin is not None
            self.process.stdin.write(orjson.dumps(request) + b"\n")
            self.process.stdin.flush()

    def follow(self, tell: Tell | None, cancelled: threading.Event | None, timeout: float) -> dict[str, Any]:
        """What it measured."""
        until = time.monotonic() + timeout
        while True:
            if cancelled is not None and cancelled.is_set():
                raise _cancelled()
            if time.monotonic() > until:
                raise Refusal(Problem("timeout", f"the dry run took longer than {timeout:.3g} s and was ended",
                                      "Look whether something else keeps the GPU busy"))  # fmt: skip
            try:
                line = self._lines.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if line is None:
                raise Refusal(self._why())
            if isinstance(line.get("result"), dict):
                return dict(line["result"])
            if isinstance(line.get("error"), dict):
                raise _refusal(line["error"])
            if tell is not None and isinstance(line.get("phase"), str):
                tell(clean(line["phase"], 40), _whole(line.get("done")), _whole(line.get("total")))

    def end(self) -> None:
        """End it and what it started, and wait until their memory is free."""
        if self.process.poll() is None:  # not waited for: its number, and its group's, are its own
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, ValueError):
                if pipe is not None and pipe is self.process.stdin:
                    pipe.close()
        for thread in self._threads:
            thread.join(2)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as pipe:
            for raw in pipe:
                try:
                    line = orjson.loads(raw)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(line, dict):
                    self._lines.put(line)
        self._lines.put(None)

    def _drain(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as pipe:
            while raw := pipe.readline(4096):
                self._said.append(raw.decode("utf-8", "replace").rstrip())

    def _why(self) -> Problem:
        """Why it ended without an answer."""
        code = self.process.wait()
        self._threads[1].join(2)
        what = "ended without an answer" if code >= 0 else f"was ended by {_signal_name(-code)}"
        what += ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        last = next((line for line in reversed(self._said) if line.strip()), "")
        return Problem(
            "failed", f"the dry run {what}" + (f": {clean(last, 200)}" if last else ""), "Try a shorter max_seq_length"
        )


def _cancelled() -> Refusal:
    return Refusal(Problem("cancelled", "the dry run was taken back"))


def _refusal(said: dict[str, Any]) -> Refusal:
    kind, message, hint = (clean(said.get(name) or "", 600) for name in ("kind", "message", "hint"))
    setting = "max_seq_length" if kind == "out-of-memory" else None
    text = message if kind == "out-of-memory" else f"the dry run failed: {message}"
    needed = said.get("needed")
    return Refusal(Problem(kind or "failed", text, hint, setting), needed if isinstance(needed, int) else None)


def _rehearsal(values: Any) -> Rehearsal:
    """From JSON; raises ``TypeError`` or ``ValueError``."""
    names = [one.name for one in fields(Rehearsal)]
    found = Rehearsal(**{name: values[name] for name in names if name in values})
    for name in (
        "step_seconds",
        "first_step_seconds",
        "load_seconds",
        "tokens_per_second",
        "tokens_per_step",
        "longest",
        "rows",
    ):
        if isinstance(getattr(found, name), bool) or not getattr(found, name) >= 0:
            raise ValueError(name)
    if found.chosen is not None and not isinstance(found.chosen, dict):
        raise TypeError("chosen")
    return found


def _with_its_code(config: RunConfig) -> tuple[RunConfig, dict[str, Any] | None]:
    """The settings at the revision whose code was agreed to, and what a run keeps of that code; ``None`` if none may run."""
    if not config.trust_remote_code:
        return config, None
    from engine.models import consent

    try:
        return consent.pinned(config)
    except InputError as error:
        raise InspectError(error.problems) from None


def _key(config: RunConfig, checked: Preflight, card: Gpu | None) -> str | None:
    """What the figures depend on, as a digest; ``None`` where that cannot be told."""
    try:
        model, template = _model_print(config), model_fields(config)["template"]
    except InputError:
        return None
    reports = [report for report in (checked.train, checked.eval) if report is not None]
    if model is None or not reports or not all(report.sha256 for report in reports):
        return None
    settings = {name: value for name, value in config.model_dump(mode="json").items() if name not in _NO_MATTER}
    data = [(report.sha256, report.source.amount if report.source is not None else "") for report in reports]
    told = [settings, model, template, data, _python(config), _versions(), process.machine_id(),
            [card.name, card.memory_total, list(card.capability or ())] if card is not None else None]  # fmt: skip
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _model_print(config: RunConfig) -> list[Any] | None:
    from engine.preflight.lengths import model_folder

    folder = model_folder(config.base_model, config.revision)
    if folder is None:
        return None
    try:
        files = sorted(
            file for file in folder.iterdir() if file.suffix in (".json", ".jinja", ".safetensors", ".model", ".py")
        )
        sizes = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError:
        return None
    return [str(folder.resolve()) if is_local_model(config.base_model) else config.base_model, sizes]


def _python(config: RunConfig) -> list[Any]:
    if not config.worker_python:
        return []
    path = expand(config.worker_python)
    try:
        return [str(path.absolute()), path.stat().st_mtime_ns]
    except OSError:
        return [str(path)]


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            found.append("")
    return found


def _folder() -> Path:
    return paths.cache_dir() / "rehearsals"


def _remember(key: str | None, found: Rehearsal) -> None:
    """Keep it for the next time; a cache that cannot be written costs only time."""
    if key is None:
        return
    folder = _folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(folder / f"{key}.json", orjson.dumps(asdict(found)), durable=False)
        files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[_KEPT_FILES:]:
            file.unlink(missing_ok=True)


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

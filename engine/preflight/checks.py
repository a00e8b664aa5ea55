"""What can be known before a GPU is touched: whether the input is sound, and how many steps a run will take."""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from engine import detach, hardware, prompts, ranks
from engine.config import RunConfig
from engine.data import DataReport, Reading, check_sources, rows_in_both
from engine.errors import Problem, RunInUseError
from engine.modelfiles import check_template
from engine.paths import expand
from engine.preflight import updates
from engine.rundir import refuse_foreign_work
from engine.text import clean

_PYTHON_HINT = "Give the path of a Python interpreter that has torch, transformers, trl and peft"
_PYTHON_SECONDS, _MARK, _LIBRARIES = 20, "tunedeck-asks", ("torch", "transformers", "trl", "peft", "datasets")
# What each place to report to needs, one of them; where several are named, transformers takes any.
_REPORTERS = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "mlflow": ("mlflow",), "trackio": ("trackio",),
              "comet_ml": ("comet_ml",), "neptune": ("neptune",), "clearml": ("clearml",), "codecarbon": ("codecarbon",),
              "dagshub": ("dagshub",), "dvclive": ("dvclive",), "swanlab": ("swanlab",), "azure_ml": ("azureml",),
              "flyte": ("flytekit",)}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The arithmetic of a run, as the trainer will do it. Rows are samples, steps are optimizer updates."""

    train_rows: int
    eval_rows: int
    samples_per_update: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    checkpoints: int
    evaluations: int


@dataclass(slots=True)
class Preflight:
    """The outcome of :func:`check`: nothing may start while there are errors."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    train: DataReport | None = None
    eval: DataReport | None = None
    plan: Plan | None = None

    @property
    def ok(self) -> bool:
        """Whether the run may start."""
        return not self.errors

    def data_record(self) -> dict[str, dict[str, object]]:
        """What ``run.json`` keeps of the data files."""
        return {name: report.record() for name, report in (("train", self.train), ("eval", self.eval)) if report}


def plan(config: RunConfig, rows: int, eval_rows: int = 0, gpus: int = 1, accumulation: int | None = None) -> Plan:
    """Steps of a run over ``rows`` usable rows; ``accumulation`` takes the place of ``gradient_accumulation_steps``.

    The same arithmetic as transformers' ``Trainer.set_initial_training_values``: a batch that is not full still counts,
    and so does an update with fewer passes at the end of an epoch. ``gpus`` are at least as many as the settings ask for.
    """
    if accumulation is not None:
        config = config.model_copy(update={"gradient_accumulation_steps": accumulation})
    config, gpus = ranks.of_each(config), max(gpus, ranks.count(config))
    if config.eval_fraction is not None:
        eval_rows = held_out(rows, config.eval_fraction)
        rows -= eval_rows
    batches = math.ceil(rows / (config.batch_size * gpus))
    steps_per_epoch = max(1, math.ceil(batches / config.gradient_accumulation_steps)) if rows else 0
    total = config.max_steps or math.ceil(config.num_train_epochs * steps_per_epoch)
    every = config.eval_steps or config.save_steps
    return Plan(
        train_rows=rows,
        eval_rows=eval_rows,
        samples_per_update=config.batch_size * config.gradient_accumulation_steps * gpus,
        steps_per_epoch=steps_per_epoch,
        total_steps=total if rows else 0,
        warmup_steps=math.ceil(total * config.warmup_ratio) if config.warmup_ratio < 1 else total,
        checkpoints=math.ceil(total / config.save_steps) if rows else 0,
        evaluations=math.ceil(total / every) if rows and eval_rows else 0,
    )


def samples(config: RunConfig, train: DataReport, evaluation: DataReport | None) -> tuple[int, int]:
    """Rows that are trained and evaluated on, as far as is known before a chat template is looked at."""
    answers = config.assistant_only_loss is not False
    return train.samples(answers), evaluation.samples(answers) if evaluation else 0


def held_out(rows: int, fraction: float) -> int:
    """How many rows are held out for evaluation: the share rounded up, but never all."""
    return min(max(0, rows - 1), math.ceil(rows * fraction))


def check(config: RunConfig, *, gpus: int = 1, new_output: bool = True,
          data: tuple[DataReport, DataReport | None] | None = None, accumulation: int | None = None) -> Preflight:  # fmt: skip
    """Check model files, data, paths and the environment of a run; starts nothing and loads nothing heavy.

    ``new_output=False`` is for a run that goes on in its own directory. ``data`` are reports of its data, where they were read
    just now: they are not read again. ``accumulation`` is what a run that chose its updates by itself has chosen; where nobody
    has chosen yet, the plan has to wait for the lengths of the rows.
    """
    result = Preflight(errors=_check_names(config))
    if result.errors:
        return result
    model_errors, model_warnings = _check_model(config)
    result.errors += model_errors
    result.warnings += model_warnings
    _check_data(config, result, data)
    _check_template(config, result)
    prompt_errors, prompt_warnings = prompts.check(config.sample_prompts)
    result.errors += prompt_errors
    result.warnings += prompt_warnings
    result.errors += (_check_output(config) if new_output else []) + _check_environment(config)
    for problem in (
        ranks.check(config, hardware.gpus())
        if ranks.count(config) > 1 or config.num_gpus or config.fsdp is True
        else []
    ):
        (result.errors if problem.severity == "error" else result.warnings).append(problem)
    result.warnings += _logout_risk(int(time.monotonic() // 60))
    known = accumulation is not None or not updates.chosen(config)
    if result.train and result.train.rows and not result.train.error_count and known:
        result.plan = plan(config, *samples(config, result.train, result.eval), gpus, accumulation)
    return result


@functools.lru_cache(maxsize=1)
def _logout_risk(minute: int) -> list[Problem]:
    """Asked at most once a minute: it starts other programs, and a form checks at every key."""
    found = detach.risk()
    return [] if found is None else [found]


def is_local_model(name: str) -> bool:
    """Whether a base model is meant as a path and not as a hub id."""
    return name.startswith(("/", "./", "../", "~")) or expand(name).exists() or name.count("/") > 1


def propose_output_dir(base_model: str, root: Path | None = None) -> Path:
    """A free directory ``runs/DATE-MODEL-N`` for a new run."""
    root = Path("runs") if root is None else root
    model = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(base_model.rstrip("/")).name).strip("-.") or "model"
    prefix = f"{time.strftime('%Y-%m-%d')}-{model[:60]}-"
    number = 1
    while (root / f"{prefix}{number}").exists():
        number += 1
    return root / f"{prefix}{number}"


def _check_names(config: RunConfig) -> list[Problem]:
    """A run is recorded in UTF-8: a path that is none could not be found again."""
    problems = []
    for setting in ("base_model", "train_path", "eval_path", "output_dir", "worker_python"):
        try:
            (getattr(config, setting) or "").encode("utf-8")
        except UnicodeEncodeError:
            problems.append(Problem("bad-path", "is a path that is not UTF-8 text, which cannot be recorded",
                                    "Rename it, or give a link with another name", setting=setting))  # fmt: skip
    return problems


def _check_model(config: RunConfig) -> tuple[list[Problem], list[Problem]]:
    from engine.models import checking

    local = is_local_model(config.base_model)
    return checking.check_directory(config) if local else checking.check_hub_id(config)


def _check_template(config: RunConfig, result: Preflight) -> None:
    """After the data: plain text needs no chat template."""
    from engine.models.cache import model_folder

    plain = config.data_format == "text" or (result.train is not None and result.train.plain_text)
    folder = model_folder(config.base_model, config.revision)
    for problem in check_template(folder, config.chat_template_path, chats=not plain):
        (result.errors if problem.severity == "error" else result.warnings).append(problem)


def _check_data(config: RunConfig, result: Preflight, data: tuple[DataReport, DataReport | None] | None = None) -> None:
    reading = Reading.of(config.model_dump())
    result.train = check_sources(config.train_path, reading=reading) if data is None else data[0]
    reports = [("train_path", result.train)]
    if config.eval_path is not None:
        result.eval = data[1] if data is not None else None
        result.eval = result.eval or check_sources(config.eval_path, setting="eval_path", reading=reading)
        reports.append(("eval_path", result.eval))
    for setting, report in reports:
        _say_data(setting, report, result)
    train, path = result.train, str(result.train.path)
    answers = config.assistant_only_loss is not False
    if not train.errors and train.rows and train.samples(False) == 0:
        result.errors.append(Problem("bad-amount", f"takes none of the {train.rows:,} rows: the share is too small", "Ask for more",
                                     setting="train_path", file=path))  # fmt: skip
    elif not train.errors and train.samples(answers) == 0:
        result.errors.append(Problem("nothing-to-train", "no row has an assistant's answer",
            "Set assistant_only_loss to false to learn from the whole text", setting="train_path", file=path))  # fmt: skip
    if config.assistant_only_loss is True and train.plain_text and not train.errors:
        result.errors.append(Problem("no-roles", "cannot be true for plain text, in which nobody answers",
            "Set it to auto, or data_format to the shape the rows have", setting="assistant_only_loss"))  # fmt: skip
    if (
        result.eval is not None
        and not train.errors
        and not result.eval.errors
        and train.plain_text != result.eval.plain_text
    ):
        result.errors.append(Problem("mixed-shapes", "is plain text and the other data are chats, or the other way round",
            "Evaluate on data of the same kind", setting="eval_path", file=str(result.eval.path)))  # fmt: skip
    if config.eval_fraction is not None and not train.errors and train.samples(answers) < 2:
        result.errors.append(Problem("too-few-rows", "has too few rows to hold some out", "Use at least two rows",
                                     setting="eval_fraction", file=path))  # fmt: skip
    same = config.eval_path is not None and result.eval is not None and result.eval.sha256 == train.sha256 != ""
    if same:
        result.warnings.append(Problem("same-data", "train and eval data are the same file or equal",
            "The eval loss will say nothing about new text", setting="eval_path", severity="warning"))  # fmt: skip
    elif result.eval is not None and (leak := rows_in_both(train, result.eval)) is not None:
        result.warnings.append(leak.problem("eval_path", result.eval.rows))
    twice = sum(tally.count for kind, tally in train.tallies.items() if kind in ("duplicate", "duplicate-across-files"))
    if config.eval_fraction is not None and twice and not train.errors:
        text = f"holds out rows of which some may be trained on as well: {twice:,} repeat others"
        hint = "Take the repeated rows out, or give data of their own (eval_path)"
        result.warnings.append(Problem("eval-in-train", text, hint, setting="eval_fraction", severity="warning"))


def _say_data(setting: str, report: DataReport, result: Preflight) -> None:
    """Errors and warnings of one setting's data."""
    result.errors += report.errors
    if report.error_count > len(report.errors):
        more = f"{report.error_count} rows in all cannot be used; the first {len(report.errors)} are shown"
        result.errors.append(Problem("more-errors", more, setting=setting, file=str(report.path)))
    if report.errors:
        return
    if report.unanswered and not report.plain_text:
        tally = report.tallies.get("no-answer")
        text = f"{report.unanswered} of {report.rows} rows have no assistant's answer"
        hint = "They are left out where only the assistant's turns are learned"
        file, line = (str(report.path), None) if tally is None or not tally.places else tally.places[0][:2]
        result.warnings.append(
            Problem("no-answer", text, hint, setting=setting, file=file, line=line, severity="warning")
        )
    if report.skipped:
        kinds = ", ".join(f"{kind} {count}" for kind, count in report.skipped.items())
        text = f"{sum(report.skipped.values())} of {report.rows} rows cannot be used and are skipped: {kinds}"
        result.warnings.append(Problem("skipped-rows", text, "Set on_bad_rows to refuse to see each of them", setting=setting,
                                       file=str(report.path), severity="warning"))  # fmt: skip
    result.warnings += report.warnings(setting)


def _check_output(config: RunConfig) -> list[Problem]:
    path = expand(config.output_dir).absolute()

    def bad(message: str, hint: str) -> list[Problem]:
        return [Problem("bad-output", message, hint, setting="output_dir", file=str(path))]

    try:
        if path.exists() and not path.is_dir():
            return bad("is a file", "Choose a directory")
        if path.is_symlink() and not path.exists():
            return bad("is a link that leads nowhere", "Remove it, or choose another directory")
        refuse_foreign_work(path)
        parent = path
        while not parent.exists() and parent != parent.parent:
            parent = parent.parent
    except RunInUseError as error:
        return error.problems
    except OSError as error:  # a name that is too long, a link to itself
        return bad(f"cannot be created: {error.strerror}", "Choose another directory")
    if path == path.parent:
        return bad("is the root of the whole file system", "Choose a new directory")
    if not parent.is_dir():
        return bad(f"cannot be created: {parent} is a file", "Choose another directory")
    if not os.access(parent, os.W_OK | os.X_OK):
        return bad(f"cannot be written: no permission in {parent}", "Choose another directory")
    if os.statvfs(parent).f_flag & os.ST_RDONLY:
        return bad("lies on a read-only file system", "Choose another directory")
    return []


@functools.lru_cache(maxsize=8)
def _no_python(python: str, changed: int, inode: int) -> str:
    """Why a program is no Python that can train; empty where it is one, or does not tell. Asked once for each file."""
    ask = f"import importlib.util as u; print({_MARK!r}, *(n for n in {_LIBRARIES!r} if u.find_spec(n) is None))"
    try:
        answer = subprocess.run([python, "-c", ask], stdin=subprocess.DEVNULL, capture_output=True, timeout=_PYTHON_SECONDS,
                                text=True, errors="replace", check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"does not answer within {_PYTHON_SECONDS} s as Python would"
    except (OSError, ValueError) as error:
        return f"cannot be started: {getattr(error, 'strerror', None) or error}"
    line = next((line for line in answer.stdout.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        # A Python that fails does so with 1 and words: what is wrong with it shows when it is to work.
        told = answer.returncode == 1 and bool(answer.stderr.strip())
        return "" if told else "is a program, but no Python interpreter"
    missing = line.removeprefix(_MARK).split()
    return f"lacks what training needs: {clean(', '.join(missing), 200)}" if missing else ""


def _check_environment(config: RunConfig) -> list[Problem]:
    problems = []
    if config.worker_python is not None:
        python = expand(config.worker_python)
        if not python.is_file() or not os.access(python, os.X_OK):
            return [Problem("bad-python", "is no program that can be run", _PYTHON_HINT, "worker_python", str(python))]
        found = python.stat()
        why = _no_python(str(python), found.st_mtime_ns, found.st_ino)
        return [Problem("bad-python", why, _PYTHON_HINT, "worker_python", str(python))] if why else []
    if isinstance(config.gpus, list):
        cards = [card.index for card in hardware.gpus()]
        missing = [str(index) for index in config.gpus if index not in cards]
        if missing:
            there = f"There are {', '.join(map(str, cards))}" if cards else "This machine shows no NVIDIA GPU"
            problems.append(
                Problem(
                    "no-such-gpu",
                    f"there is no GPU {', '.join(missing)}",
                    f"{there}; or set it to auto",
                    setting="gpus",
                )
            )
    attention = config.attn_implementation
    needs = [
        ("load_in_4bit", config.load_in_4bit, "bitsandbytes", "pip install 'tunedeck[quant]'"),
        ("load_in_8bit", config.load_in_8bit, "bitsandbytes", "pip install 'tunedeck[quant]'"),
        ("optim", "8bit" in config.optim or "paged" in config.optim, "bitsandbytes", "pip install 'tunedeck[quant]'"),
        ("use_liger_kernel", config.use_liger_kernel is True, "liger_kernel", "pip install 'tunedeck[fast]'"),
        ("attn_implementation", attention == "flash_attention_2", "flash_attn", "pip install flash-attn"),
        ("attn_implementation", attention == "flash_attention_3", "flash_attn_interface",
         "Build it from flash-attention's folder hopper, or choose another"),
    ]  # fmt: skip
    for word in config.report_to or []:
        packages = _REPORTERS.get(word, ())
        if packages and not any(importlib.util.find_spec(package) for package in packages):
            needs.append(("report_to", True, packages[0], f"pip install {packages[0]}, or leave {word} out"))
    for setting, wanted, package, hint in needs:
        if wanted and importlib.util.find_spec(package) is None:
            problems.append(
                Problem(
                    "missing-package", f"needs the package {package}, which is not installed", hint, setting=setting
                )
            )
    if attention == "flex_attention" and not hardware.gpus():
        problems.append(Problem("no-gpu", "flex_attention cannot be trained with without a GPU, and this machine shows none",
                                "Choose auto or sdpa", setting="attn_implementation"))  # fmt: skip
    return problems

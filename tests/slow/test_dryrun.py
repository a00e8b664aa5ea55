"""Dry runs for real, on the processor: which rows are stepped over, what is measured, and that nothing is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine import hardware, paths, process
from engine.config import RunConfig, parse
from engine.inspecting import InspectError
from engine.rehearsal import Refusal, Rehearsal, rehearse, remembered
from engine.supervisor.environment import worker_environment
from tests import preloaded
from tests.support import wait_for, write_rows

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(preloaded.interpreter(tmp_path_factory.mktemp("python") / "python"))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, xdg: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything temporary goes, and a home where nothing may appear."""
    for name in ("temporary", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "temporary"


def config(tmp_path: Path, python: Path | str, **more: Any) -> RunConfig:
    values = {
        "base_model": MODEL,
        "train_path": SAMPLE / "train.jsonl",
        "output_dir": tmp_path / "out",
        "worker_python": python,
        **more,
    }
    return parse({name: str(value) for name, value in values.items()})


def nothing_is_left(tmp_path: Path, xdg: Path) -> None:
    """No temporary file, no run, no entry of the registry; only what was measured may be remembered."""
    left = [str(file.relative_to(xdg)) for file in xdg.rglob("*") if file.is_file()]
    assert all(name.startswith(("cache/tunedeck/rehearsals/", "cache/tunedeck/engine-path/")) for name in left), left
    assert os.listdir(tmp_path / "temporary") == [] and not (tmp_path / "out").exists()
    kept = [file.relative_to(tmp_path / "home") for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert [str(file) for file in kept if file.parts[0] != ".triton"] == [], "but the kernels that a GPU needed"


@pytest.fixture(scope="module")
def lengths() -> list[tuple[int, int]]:
    """Of each row of the sample: its tokens, and how many stand before the first one that is learned; by plain means."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    found = []
    for line in (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
        first = next(at for at, message in enumerate(messages) if message["role"] == "assistant")
        before = tokenizer.apply_chat_template(
            messages[:first], tokenize=True, return_dict=True, add_generation_prompt=True
        )
        found.append((len(whole), len(before["input_ids"])))
    return found


def test_two_steps_over_the_longest_rows(tmp_path: Path, xdg: Path, lengths: list[tuple[int, int]]) -> None:
    """In tunedeck's own interpreter, with everything loaded anew."""
    settings = parse({"base_model": str(MODEL), "train_path": str(SAMPLE / "train.jsonl"), "output_dir": str(tmp_path / "out"),
                      "batch_size": 2, "gradient_accumulation_steps": 2})  # fmt: skip
    told: list[tuple[str, int, int]] = []
    found = rehearse(settings, tell=lambda *what: told.append(what))
    longest = sorted((length for length, _ in lengths), reverse=True)
    assert found.longest == longest[0] and found.rows == 4 and found.tokens_per_step == sum(longest[:4])
    assert found.peak is found.reserved is found.gpu is None and found.gpu_name == ""
    assert found.host_peak is not None and 2 * 10**8 < found.host_peak < 4 * 10**9
    assert 0 < found.step_seconds < 60 and 0 < found.first_step_seconds < 60 and found.load_seconds > 0.5
    assert found.tokens_per_second == pytest.approx(found.tokens_per_step / found.step_seconds)
    assert found.usual_seconds is not None and found.usual_tokens is not None
    assert (
        found.usual_seconds < 3 * found.step_seconds and 4 * longest[-1] <= found.usual_tokens < found.tokens_per_step
    )
    assert told[0][0] == "loading" and ("training", 2, 3) in told and ("training", 3, 3) in told
    assert remembered(settings) == found
    nothing_is_left(tmp_path, xdg)


@pytest.mark.parametrize("limit", [300, 60])
def test_rows_are_those_that_are_trained(
    tmp_path: Path, python: Path, lengths: list[tuple[int, int]], limit: int
) -> None:
    """Cut at the limit; rows of which nothing that is learned is left are no rows, however long they are."""
    found = rehearse(config(tmp_path, python, max_seq_length=limit, gradient_accumulation_steps=8))
    kept = sorted((min(length, limit) for length, before in lengths if before < limit), reverse=True)
    assert limit != 60 or len(kept) < len(lengths)
    assert found.longest == kept[0] and found.tokens_per_step == sum(kept[:8]) and found.rows == 8


def test_few_rows_fill_the_steps_again_and_again(tmp_path: Path, xdg: Path, python: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    found = rehearse(config(tmp_path, python, train_path=rows, batch_size=4, gradient_accumulation_steps=2))
    assert found.rows == 3 and found.tokens_per_step >= 8 * 10 and found.longest * 8 >= found.tokens_per_step
    nothing_is_left(tmp_path, xdg)


def test_the_longest_row_is_found_where_bytes_mislead(tmp_path: Path, python: Path) -> None:
    """Letters that are rare take a token for each of their bytes: the longest row in tokens is not that in bytes."""
    said = ["hello there my friend " * 30] * 100 + ["\ua66e" * 150] + ["hello there my friend " * 10] * 200
    rows = write_rows(tmp_path / "rows.jsonl", [{"messages": [{"role": "user", "content": f"{n} ?"}, {"role": "assistant", "content": text}]}
                                               for n, text in enumerate(said)])  # fmt: skip
    found = rehearse(config(tmp_path, python, train_path=rows, gradient_accumulation_steps=1, max_seq_length=8192))
    assert found.longest > 450


def test_packed_rows_are_full(tmp_path: Path, xdg: Path, python: Path) -> None:
    found = rehearse(
        config(tmp_path, python, packing="true", max_seq_length=256, batch_size=2, gradient_accumulation_steps=2)
    )
    assert (
        240 < found.longest <= 256 and 0.9 * 4 * 256 < found.tokens_per_step <= 4 * 256 and found.usual_seconds is None
    )
    few = write_rows(tmp_path / "rows.jsonl", 2)
    assert rehearse(config(tmp_path, python, packing="true", train_path=few)).rows == 1
    nothing_is_left(tmp_path, xdg)


@pytest.mark.parametrize("more", [{"eval_path": SAMPLE / "eval.jsonl"}, {"eval_fraction": 0.1}])
def test_one_batch_of_the_evaluation(tmp_path: Path, xdg: Path, python: Path, more: dict[str, Any]) -> None:
    told: list[str] = []
    found = rehearse(config(tmp_path, python, per_device_eval_batch_size=3, load_best_model_at_end="true", **more),
                     tell=lambda phase, done, total: told.append(phase))  # fmt: skip
    assert found.evaluated == 3 and told.index("evaluating") > told.index("training")
    nothing_is_left(tmp_path, xdg)


def test_plain_text_and_a_run_that_would_report_and_sample(tmp_path: Path, xdg: Path, python: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", [{"text": f"Once there were {n} sheep."} for n in range(30)])
    found = rehearse(config(tmp_path, python, train_path=rows, report_to="tensorboard", sample_prompts="hello", save_steps=1,
                            early_stopping_patience=2, eval_fraction=0.2, on_end="touch left", torch_compile="false"))  # fmt: skip
    assert found.longest < 60 and not Path("left").exists()
    nothing_is_left(tmp_path, xdg)


def test_a_step_takes_as_long_as_in_the_run(tmp_path: Path, python: Path) -> None:
    """The usual step against the steps of a run of the same settings, with the machine as busy as it is."""
    from engine.history import summarise
    from engine.launchers import launch
    from engine.snapshot import RunFollower
    from tests.support import ended

    settings = config(tmp_path, python, max_steps=8, queue="false")
    found = rehearse(settings)
    run = launch(settings)
    assert ended(run, 120)["state"] == "completed" and summarise(run.path) is not None
    seconds = sorted(RunFollower(run.path).read_all().steps.column("step_seconds"))
    assert found.usual_seconds is not None and 1 / 6 < found.usual_seconds / seconds[len(seconds) // 2] < 6


FAULT = """
import torch
from engine.worker.trainer import RunTrainer
plain = RunTrainer.training_step
def training_step(self, *args, **more):
    if self.state.global_step == {step}:
        {what}
    return plain(self, *args, **more)
RunTrainer.training_step = training_step
"""
CUDA = ("CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.50 GiB is free. "
        "Including non-PyTorch memory, this process has 77.00 GiB memory in use.")  # fmt: skip


@pytest.mark.parametrize(
    ("step", "what", "kind", "says"),
    [
        (1, f"raise torch.OutOfMemoryError({CUDA!r})", "out-of-memory", "in a step over the longest rows: asked for 3.0 GiB more"),
        (0, "raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory')", "out-of-memory", "own memory in a step"),
        (1, "raise ValueError('shapes (3) and (4)\\nmore')", "failed", "the dry run failed: shapes (3) and (4)"),
        (0, "import os; os.kill(os.getpid(), 11)", "failed", "was ended by SIGSEGV"),
        (0, "import os; os._exit(3)", "failed", "ended without an answer"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_and_cleared_up(
    tmp_path: Path, xdg: Path, step: int, what: str, kind: str, says: str
) -> None:
    faulty = preloaded.interpreter(tmp_path / "faulty", FAULT.format(step=step, what=what))
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, faulty))
    problem = caught.value.problems[0]
    assert caught.value.kind == kind and says in problem.message and "\n" not in problem.message, problem
    if step == 1 and kind == "out-of-memory":
        assert isinstance(caught.value, Refusal) and caught.value.needed == 3 * 2**30
        assert "1.5 GiB were free" in problem.message and problem.setting == "max_seq_length"
    nothing_is_left(tmp_path, xdg)


def test_rows_that_the_run_would_refuse(tmp_path: Path, xdg: Path, python: Path) -> None:
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, python, max_seq_length=8))
    assert caught.value.kind == "cannot-train" and "raise max_seq_length (8)" in caught.value.problems[0].message
    nothing_is_left(tmp_path, xdg)


OWN = """
from transformers import Qwen2ForCausalLM
open({mark!r}, "w").close()
class Own(Qwen2ForCausalLM):
    pass
"""


def test_code_of_a_model_runs_as_it_was_agreed_to(tmp_path: Path) -> None:
    from engine.models import consent

    model, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(MODEL, model)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(
        json.dumps({**settings, "auto_map": {"AutoModelForCausalLM": "modeling_own.Own"}})
    )
    (model / "modeling_own.py").write_text(OWN.format(mark=str(mark)))
    wanted = config(tmp_path, sys.executable, base_model=model, trust_remote_code="true")
    with pytest.raises(InspectError) as caught:
        rehearse(wanted)
    assert caught.value.kind == "needs-consent" and not mark.exists()
    code = consent.code_of(str(model), None)
    assert code is not None
    consent.agree(code)
    assert rehearse(wanted).rows == 4 and mark.exists()
    assert os.listdir(tmp_path / "temporary") == [] and [f for f in (tmp_path / "home").rglob("*") if f.is_file()] == []


@pytest.mark.parametrize("phase", ["loading", "tokenising", "training"])
def test_cancelled(tmp_path: Path, xdg: Path, python: Path, phase: str) -> None:
    cancelled, at = threading.Event(), [0.0]

    def tell(now: str, done: int, total: int) -> None:
        if now == phase and not cancelled.is_set():
            at[0] = time.monotonic()
            cancelled.set()

    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, python, gradient_accumulation_steps=64), tell=tell, cancelled=cancelled)
    assert caught.value.kind == "cancelled" and time.monotonic() - at[0] < 3
    wait_for(lambda: not processes(tmp_path))
    nothing_is_left(tmp_path, xdg)


CLIENT = """
import sys
from engine.config import parse
from engine.rehearsal import rehearse
rehearse(parse(dict(word.split("=", 1) for word in sys.argv[1:])), tell=lambda *what: print(*what, flush=True))
"""


@pytest.mark.parametrize("phase", ["loading", "training"])
def test_a_killed_client_leaves_nothing(tmp_path: Path, xdg: Path, phase: str) -> None:
    values = {"base_model": MODEL, "train_path": SAMPLE / "train.jsonl", "output_dir": tmp_path / "out", "gradient_accumulation_steps": 64,
              "dataloader_num_workers": 1}  # fmt: skip
    client = subprocess.Popen([sys.executable, "-c", CLIENT, *(f"{name}={value}" for name, value in values.items())],
                              stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})  # fmt: skip
    assert client.stdout is not None
    while not client.stdout.readline().startswith(phase):
        assert client.poll() is None
    if phase == "training":
        time.sleep(1)  # within the first step, its data loader at work
    assert processes(tmp_path) and os.listdir(tmp_path / "temporary")
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not processes(tmp_path), 20)
    nothing_is_left(tmp_path, xdg)


def processes(tmp_path: Path) -> list[int]:
    """Those whose temporary files go to where this test's do."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={tmp_path}/temporary/tunedeck-dryrun-".encode() in (place / "environ").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return [pid for pid in found if process.started(pid) is not None]


def test_the_worker_by_itself_speaks_json_only(tmp_path: Path) -> None:
    """What libraries print goes to standard error; an end of standard input ends it."""
    folder = tmp_path / "temporary" / "by-itself"
    folder.mkdir()
    settings = config(tmp_path, sys.executable, trust_remote_code="false").model_dump(mode="json")
    child = subprocess.Popen([sys.executable, "-P", "-m", "engine.worker.dryrun"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=worker_environment(sys.executable, None), start_new_session=True)  # fmt: skip
    assert child.stdin is not None and child.stdout is not None and child.stderr is not None
    child.stdin.write(json.dumps({"settings": settings, "folder": str(folder), "code": None}).encode() + b"\n")
    child.stdin.flush()
    lines = [json.loads(line) for line in child.stdout]
    child.stdin.close()
    assert child.wait(20) == 0 and not folder.exists()
    assert (
        set(lines[0]) == {"phase", "done", "total"}
        and Rehearsal(gpu=None, gpu_name="", **lines[-1]["result"]).rows == 4
    )
    assert b"gradient_checkpointing" in child.stderr.read()


gpu = pytest.mark.skipif(not hardware.gpus(), reason="needs an NVIDIA GPU")


@gpu
@pytest.mark.parametrize("recipe", ["plain", "auto"])
def test_the_peak_is_that_of_the_run(tmp_path: Path, recipe: str) -> None:
    from engine.launchers import launch
    from engine.snapshot import RunFollower
    from tests.support import ended

    # Rows of one length: the longest are then what every step of the run sees.
    words = " ".join(str(number) for number in range(1000, 1300))
    rows = [
        {"messages": [{"role": "user", "content": f"Count, {row}."}, {"role": "assistant", "content": words}]}
        for row in range(100, 164)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = config(
        tmp_path, sys.executable, recipe=recipe, batch_size=4, train_path=tmp_path / "rows.jsonl", num_train_epochs=8
    )
    found = rehearse(settings)
    assert found.gpu is not None and found.gpu_name and found.peak is not None and found.reserved is not None
    run = launch(settings)
    assert ended(run, 300)["state"] == "completed"
    steps = RunFollower(run.path).read_all().steps
    for rehearsed, name in ((found.peak, "gpu_memory_peak"), (found.reserved, "gpu_memory_reserved")):
        seen = max(value for value in steps.column(name) if value is not None)
        print(f"{name}: {rehearsed:,} rehearsed, {seen:,.0f} in the run")
        assert 0.98 * seen <= rehearsed < 1.25 * seen
    seconds = sorted(steps.column("step_seconds"))
    assert found.usual_seconds is not None and 1 / 4 < found.usual_seconds / seconds[len(seconds) // 2] < 4


@gpu
def test_a_gpu_that_is_too_small(tmp_path: Path, xdg: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import torch\ntorch.cuda.set_per_process_memory_fraction(256 * 2**20 / torch.cuda.get_device_properties(0).total_memory)\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, python, batch_size=64, recipe="plain", gradient_checkpointing="false"))
    print(caught.value.kind, caught.value.problems)
    assert caught.value.kind == "out-of-memory" and "GPU memory in a step" in caught.value.problems[0].message
    assert isinstance(caught.value, Refusal) and caught.value.needed is not None and caught.value.needed > 256 * 2**20
    nothing_is_left(tmp_path, xdg)

"""Requests, steps that are no number, and ends of real training processes: own scripts, two ranks, and the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.history import summarise
from engine.rundir import RunDir
from tests import preloaded
from tests.support import ended, read_events, wait_for

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "1"}

# A model of one layer: what is tested is the callback. Options come as JSON.
SCRIPT = """
import gc, json, sys, time
gc.disable()  # loads faster
import torch
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments
from engine.worker.callback import RunCallback

DEFAULTS = {"steps": 12, "bad_step": 0, "bad": "loss", "stop": False, "sleep": 0.0, "eval_sleep": 0.0, "evals": 4,
           "evaluates": True, "model": "", "arguments": {}}

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.step = 0
    def forward(self, x, labels=None):
        loss = (self.layer(x) - 1).square().mean()
        if not self.training:
            time.sleep(options["eval_sleep"])
        elif self.step + 1 == options["bad_step"]:
            # The value alone, or the gradient alone.
            loss = loss + (float("nan") if options["bad"] == "loss" else Spoil.apply(self.layer.weight.sum()))
        return {"loss": loss}

class Spoil(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value * 0
    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("inf")

class Watch(TrainerCallback):
    weights = {}
    def on_step_begin(self, args, state, control, model=None, **kwargs):
        getattr(model, "module", model).step = state.global_step
        Watch.weights[state.global_step] = model.state_dict()[list(model.state_dict())[0]].clone()
    def on_step_end(self, args, state, control, **kwargs):
        time.sleep(options["sleep"])

def row():
    return {name: torch.randint(3, 2000, (16,)) for name in ("input_ids", "labels")} if options["model"] else {
        "x": torch.randn(8), "labels": torch.tensor(0)}
# Pairs of a directory and options: one training after the other.
for out, more in zip(sys.argv[1::2], sys.argv[2::2]):
    options = {**DEFAULTS, **json.loads(more)}
    torch.manual_seed(0)
    rows = [row() for _ in range(40)]
    model = AutoModelForCausalLM.from_pretrained(options["model"]) if options["model"] else Model()
    trainer = Trainer(model=model,
        args=TrainingArguments(**{**dict(output_dir=out, max_steps=options["steps"], logging_steps=4, learning_rate=0.01,
            per_device_train_batch_size=2, save_steps=5, report_to="none", use_cpu=True, disable_tqdm=True,
            per_device_eval_batch_size=1, dataloader_pin_memory=False), **options["arguments"]}),
        train_dataset=rows, eval_dataset=rows[:options["evals"]] if options["evaluates"] else None,
        callbacks=[Watch(), RunCallback(stop_on_nonfinite=options["stop"])])
    trainer.train()
    step = trainer.state.global_step
    finite = all(bool(torch.isfinite(p).all()) for p in model.parameters())
    same = torch.equal(Watch.weights[step - 1], next(iter(model.state_dict().values())))
    logged = [r["loss"] for r in trainer.state.log_history if "loss" in r]
    with open(f"{out}-end-{trainer.args.process_index}.json", "w") as file:
        json.dump({"step": step, "finite": finite, "same": same,
          "steps_of_optimizer": [float(s["step"]) for s in trainer.optimizer.state.values()][:1],
          "logged": [str(loss) for loss in logged]}, file)
    print("DONE", flush=True)
"""
CASES: dict[str, dict[str, Any]] = {
    "gradient": {"bad_step": 4, "bad": "gradient", "arguments": {"max_grad_norm": 0.0}},
    "loss": {"bad_step": 4, "bad": "loss"},
    "stop at loss": {"bad_step": 10, "bad": "loss", "stop": True},
    "stop at gradient": {"bad_step": 10, "bad": "gradient", "stop": True},
    "stop at once": {"bad_step": 1, "stop": True, "arguments": {"save_strategy": "epoch"}},
    "again": {"steps": 6},
    "short batches": {"steps": 14, "arguments": {"per_device_train_batch_size": 6}},
}


def script(tmp_path: Path, **options: Any) -> list[str]:
    path = tmp_path / "mine.py"
    path.write_text(SCRIPT)
    return [str(path), str(tmp_path / "out"), json.dumps(options)]


def start(words: list[str], python: Path | str = sys.executable) -> subprocess.Popen[str]:
    return subprocess.Popen([python, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**os.environ, **ENVIRONMENT})  # fmt: skip


def has_libraries(tmp_path: Path) -> Path:
    """A Python that need not load them, with one thread as :data:`ENVIRONMENT` says."""
    return preloaded.interpreter(tmp_path / "python", "import torch\ntorch.set_num_threads(1)")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """All cases, one after the other in one process: folders, and what each printed."""
    root = tmp_path_factory.mktemp("cases")
    words = [str(root / "mine.py")]
    for name, options in CASES.items():
        (root / name).mkdir()
        for _ in range(2 if name == "again" else 1):
            words += [str(root / name / "out"), json.dumps(options)]
    (root / "mine.py").write_text(SCRIPT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        process = start(words, has_libraries(root))
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "Traceback" not in output, output
    said = output.split("DONE\n")
    said.pop(list(CASES).index("again"))
    return {name: (root / name, text) for name, text in zip(CASES, said, strict=False)}


def of(case: tuple[Path, str]) -> tuple[dict[str, Any], list[dict[str, Any]], str]:
    """The script's last words, the events, and all that it printed."""
    return last_words(case[0])[0], read_events(RunDir(case[0] / "out")), case[1]


def last_words(tmp_path: Path) -> list[dict[str, Any]]:
    """What the script said of its end, by rank."""
    return [json.loads(path.read_text()) for path in sorted(tmp_path.glob("out-end-*.json"))]


def answers(run: RunDir, verb: str) -> list[str]:
    return [e["outcome"] for e in read_events(run) if e["type"] == "control" and e["request"] == verb]


def stepping(run: RunDir) -> None:
    wait_for(lambda: run.events.exists() and any(e["type"] == "step" for e in read_events(run)), 90)


# -- steps that are no number -----------------------------------------------------------------------------------------


def test_a_nan_is_said_once_and_later_losses_are_true_again(cases: dict[str, tuple[Path, str]]) -> None:
    end, events, _ = of(cases["gradient"])
    notices = [e for e in events if e["type"] == "notice"]
    assert end["step"] == 12 and not end["finite"]
    assert notices[0]["level"] == "error" and notices[0]["kind"] == "nonfinite" and notices[0]["step"] == 4
    assert "gradient norm" in notices[0]["text"] and "training goes on" in notices[0]["text"]
    assert len(notices) == 2 and "until training ended" in notices[1]["text"]  # the weights are spoilt: it does not end


def test_a_nan_loss_does_not_stick_to_the_steps_after_it(cases: dict[str, tuple[Path, str]]) -> None:
    """The trainer empties its sum by subtraction: a NaN at a step that is logged would stay in every later loss."""
    end, events, _ = of(cases["loss"])
    assert [e["step"] for e in events if e["type"] == "step" and e["loss"] == "NaN"] == [4]
    assert end["logged"][0] == "nan" and "nan" not in end["logged"][1:] and len(end["logged"]) == 3
    said = [(e["step"], e["level"]) for e in events if e["type"] == "notice"]
    assert said == [(4, "error"), (4, "warning")]


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_stop_keeps_the_step_from_the_weights(cases: dict[str, tuple[Path, str]], bad: str) -> None:
    out = cases[f"stop at {bad}"][0] / "out"
    end, events, output = of(cases[f"stop at {bad}"])
    assert end["step"] == 10 and end["finite"] and end["same"] and end["steps_of_optimizer"] == [9.0]
    assert sorted(p.name for p in out.glob("checkpoint-*")) == ["checkpoint-5"]
    summary = summarise(out)
    assert summary is not None and summary.state == "failed"
    assert summary.reason.startswith(f"the {bad} is not a number at step 10 (loss ")
    assert "before the adapter was changed; the last good checkpoint is checkpoint-5" in summary.reason
    assert [e["step"] for e in events if e["type"] == "step"] == list(range(1, 11))
    assert any(e["type"] == "notice" and e["step"] == 10 and "training stops" in e["text"] for e in events)
    assert (RunDir(out).read_status() or {})["resumable"] is True and "is not a number" in output


def test_stop_at_the_first_step_says_that_there_is_no_checkpoint(cases: dict[str, tuple[Path, str]]) -> None:
    out = cases["stop at once"][0] / "out"
    end, _, _ = of(cases["stop at once"])
    summary = summarise(out)
    assert end["step"] == 1 and end["finite"] and summary is not None
    assert summary.state == "failed" and "there is no good checkpoint yet" in summary.reason
    assert not list(out.glob("checkpoint-*"))


# -- requests -----------------------------------------------------------------------------------------------------------


def test_a_stop_in_a_long_evaluation_is_answered_at_once_and_ends_it(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "out")
    words = script(tmp_path, evals=40, eval_sleep=0.5, arguments={"eval_strategy": "steps", "eval_steps": 3})
    process = start(words, has_libraries(tmp_path))
    wait_for(lambda: run.events.exists() and any(e.get("name") == "evaluating" for e in read_events(run)), 90)
    run.request("stop")
    wait_for(lambda: answers(run, "stop"), 2)
    begun = time.monotonic()
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "Traceback" not in output and time.monotonic() - begun < 10, output
    assert last_words(tmp_path)[0]["step"] == 3 and (tmp_path / "out/checkpoint-3").is_dir()
    summary = summarise(run.path)
    assert summary is not None and (summary.state, summary.reason) == ("stopped", "stopped on request")
    assert not any(e["type"] == "eval" for e in read_events(run))


def test_requests_are_answered_in_words_and_what_others_do_there_changes_nothing(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "out")
    python = has_libraries(tmp_path)
    process = start(script(tmp_path, steps=5000, sleep=0.05, evaluates=False, arguments={"save_steps": 5000}), python)
    stepping(run)
    record = run.run_json.read_bytes()
    second = start(script(tmp_path, steps=5, arguments={"save_strategy": "no"}), python)  # in the same directory
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 0 and last_words(tmp_path)[0]["step"] == 5
    assert "this training is not recorded" in output and "in use" in output and "Traceback" not in output
    assert run.run_json.read_bytes() == record and not list(run.path.glob(".tunedeck.*"))
    (run.control / "somebody's note").write_text("hello")
    run.request("evaluate")
    wait_for(lambda: answers(run, "evaluate") == ["refused: there is no evaluation data"], 2)
    run.request("checkpoint")
    (saved,) = wait_for(lambda: answers(run, "checkpoint"), 3)
    assert saved.startswith("done: saved checkpoint-") and (run.path / saved.split()[-1]).is_dir()
    wait_for(lambda: (run.read_status() or {}).get("resumable"), 3)
    run.request("stop-now")
    process.communicate(timeout=20)
    step = last_words(tmp_path)[0]["step"]
    assert process.returncode == 0 and answers(run, "stop-now") == [f"stopping after step {step}, without saving"]
    assert not (run.path / f"checkpoint-{step}").exists() and (run.control / "somebody's note").exists()
    assert {e["total_steps"] for e in read_events(run) if e["type"] == "step"} == {5000}
    summary = summarise(run.path)
    assert summary is not None and (summary.state, summary.reason) == ("stopped", "stopped at once on request")


def test_the_same_process_may_train_twice(cases: dict[str, tuple[Path, str]]) -> None:
    out = cases["again"][0] / "out"
    assert len(list(out.glob(".tunedeck.*"))) == 1
    summary = summarise(out)
    assert summary is not None and summary.state == "completed" and summary.points == 6


def test_the_last_batch_of_an_epoch_counts_its_true_samples(cases: dict[str, tuple[Path, str]]) -> None:
    _, events, _ = of(cases["short batches"])
    samples = [round(e["samples_per_second"] * e["step_seconds"], 6) for e in events if e["type"] == "step"]
    assert samples == ([6.0] * 6 + [4.0]) * 2


# -- two processes ------------------------------------------------------------------------------------------------------


def test_two_ranks_stop_together_at_a_nan_and_take_requests_at_the_same_step(tmp_path: Path) -> None:
    """Two trainings, one after the other in the same two processes."""
    first, run = RunDir(tmp_path / "first/out"), RunDir(tmp_path / "out")
    first.path.parent.mkdir()
    nan = {"bad_step": 3, "stop": True, "arguments": {"ddp_backend": "gloo"}}
    mine, *second = script(
        tmp_path, steps=5000, model=str(MODEL), arguments={"save_steps": 5000, "ddp_backend": "gloo"}
    )
    words = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        mine,
        str(first.path),
        json.dumps(nan),
    ]
    process = start([*words, *second])
    stepping(run)
    ends = last_words(first.path.parent)
    assert [end["step"] for end in ends] == [3, 3]
    assert all(end["finite"] and end["steps_of_optimizer"] == [2.0] for end in ends)
    summary = summarise(first.path)
    assert summary is not None and summary.state == "failed" and "step 3 (loss NaN" in summary.reason

    run.request("checkpoint")
    (saved,) = wait_for(lambda: answers(run, "checkpoint"), 10)
    folder = run.path / saved.split()[-1]
    # The first process answers once it has written its part; the second writes its own beside it.
    wait_for(lambda: {"rng_state_0.pth", "rng_state_1.pth"} <= {path.name for path in folder.iterdir()}, 10)
    run.request("evaluate")
    (evaluated,) = wait_for(lambda: answers(run, "evaluate"), 10)
    assert evaluated.startswith("done: eval loss")
    run.request("stop")
    output, _ = process.communicate(timeout=60)
    ends = last_words(tmp_path)
    assert process.returncode == 0 and len(ends) == 2, output
    assert ends[0]["step"] == ends[1]["step"]
    steps = [e["step"] for e in read_events(run) if e["type"] == "step"]
    assert steps == list(range(1, ends[0]["step"] + 1)) and (run.path / f"checkpoint-{steps[-1]}").is_dir()
    summary = summarise(run.path)
    assert summary is not None and (summary.state, summary.reason) == ("stopped", "stopped on request")


# -- the worker ---------------------------------------------------------------------------------------------------------


def tunedeck(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tui", *map(str, words)], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=200, check=False)  # fmt: skip


def flags(output: Path, **more: object) -> list[str]:
    values = {"base_model": MODEL, "train_path": SAMPLE / "train.jsonl", "output_dir": output, "lora_r": 4, "max_seq_length": 64,
              "batch_size": 1, "gradient_accumulation_steps": 2, "max_steps": 12, "save_steps": 1, **more}  # fmt: skip
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def model_with_a_spoilt_token(folder: Path, word: str) -> Path:
    """The sample model; reading ``word`` makes its loss NaN."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.detach().clone())
    with torch.no_grad():
        model.model.embed_tokens.weight[tokenizer(word)["input_ids"][-1]] = float("nan")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_worker_stops_before_the_adapter_is_spoilt(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = model_with_a_spoilt_token(tmp_path / "model", "☃")
    row = {"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello to you"}]}
    bad = {"messages": [{"role": "user", "content": "☃"}, {"role": "assistant", "content": "Hello to you"}]}
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in [*[row] * 19, bad]))
    python = preloaded.interpreter(tmp_path / "python")
    more = {"base_model": model, "train_path": data, "on_nonfinite": "stop", "seed": 3, "worker_python": python}
    found = tunedeck("train", *flags(tmp_path / "out", **more))
    run = RunDir(tmp_path / "out")
    assert found.returncode == 1, found.stdout + found.stderr
    status = ended(run)
    steps = [e["step"] for e in read_events(run) if e["type"] == "step"]
    last = steps[-1]
    assert last > 1, "another seed, please: the bad row came first"
    assert status["state"] == "failed" and status["resumable"]
    assert status["reason"] == (f"the loss is not a number at step {last} (loss NaN, gradient NaN): stopped before the adapter "
                                f"was changed; the last good checkpoint is checkpoint-{last - 1}")  # fmt: skip
    assert not (run.path / "adapter_model.safetensors").exists() and not (run.path / f"checkpoint-{last}").exists()
    adapter = load_file(run.path / f"checkpoint-{last - 1}" / "adapter_model.safetensors")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in adapter.values())


def test_a_foreign_sigint_reads_as_killed_and_stop_now_as_stopped(tmp_path: Path) -> None:
    runs = {name: RunDir(tmp_path / name) for name in ("foreign", "asked")}
    for run in runs.values():
        more = {} if run is runs["foreign"] else {"worker_python": preloaded.interpreter(tmp_path / "python")}
        tunedeck("train", *flags(run.path, max_steps=3000, save_steps=5000, **more), "--detach")
        stepping(run)
        if run is runs["foreign"]:
            os.kill((run.read_status() or {})["pid"], signal.SIGINT)
        else:
            run.request("stop-now")
        begun = time.monotonic()
        status = ended(run)
        assert status["signal"] == "SIGINT" and time.monotonic() - begun < 2
    assert (runs["foreign"].read_status() or {})["state"] == "killed"
    assert (runs["asked"].read_status() or {})["state"] == "stopped"

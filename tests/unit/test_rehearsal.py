"""The dry run's client: what it refuses, says and clears up, whatever its process does; and what it remembers."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from engine import hardware, paths, process
from engine.cli import main
from engine.config import RunConfig, parse
from engine.hardware import Gpu
from engine.inspecting import InspectError
from engine.preflight.lengths import Lengths
from engine.preflight.sheet import Sheet, refused, rehearsed, sheet
from engine.queue import slots
from engine.rehearsal import Refusal, Rehearsal, place, rehearse, remembered
from engine.worker.dryrun import explained
from tests.support import wait_for, write_rows

SAMPLE = paths.sample_data_dir()
FOUND = Rehearsal(None, "", None, None, 10**9, 2.0, 3.0, 5.0, 8000, 4000.0, 2000, 4, 0, 0.5, 1000)
MEASURED = {name: value for name, value in asdict(FOUND).items() if name not in ("gpu", "gpu_name")}
HEAD = f"#!{sys.executable}\nimport json, os, sys, time\nrequest = json.loads(sys.stdin.readline())\n"
SAY = "def say(**body): print(json.dumps(body), flush=True)\n"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders where it can be seen whether anything is left of them."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def config(tmp_path: Path, body: str | None = None, **more: Any) -> RunConfig:
    values = {
        "base_model": SAMPLE / "tiny-qwen2",
        "train_path": SAMPLE / "train.jsonl",
        "output_dir": tmp_path / "out",
        **more,
    }
    if body is not None:
        python = tmp_path / "python"
        python.write_text(HEAD + SAY + body)
        python.chmod(0o755)
        values["worker_python"] = python
    return parse({name: str(value) for name, value in values.items()})


def test_what_is_told_and_found(tmp_path: Path, places: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "adapter_model.safetensors").write_text("of another run")
    body = f"say(phase='training', done=1, total=3)\nprint('noise', file=sys.stderr)\nsay(result={MEASURED!r})\ntime.sleep(60)\n"
    told: list[tuple[str, int, int]] = []
    found = rehearse(config(tmp_path, body), tell=lambda *what: told.append(what))
    assert found == FOUND and told == [("training", 1, 3)]
    assert os.listdir(places) == [] and os.listdir(tmp_path / "out") == ["adapter_model.safetensors"]


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("sys.exit('ModuleNotFoundError: No module named torch')", "failed", "No module named torch"),
        ("os.kill(os.getpid(), 9)", "failed", "SIGKILL, perhaps for want of memory"),
        ("print('[1]\\nno json', flush=True)", "failed", "ended without an answer"),
        ("say(result={'peak': 3})", "failed", "answer that is none"),
        ("say(error={'kind': 'cannot-train', 'message': 'why \\x1b[2Jnot', 'hint': 3})", "cannot-train", "the dry run failed: why not"),
        ("say(error={'kind': 'out-of-memory', 'message': 'runs out', 'hint': 'less', 'needed': 7})", "out-of-memory", "runs out"),
    ],
)  # fmt: skip
def test_a_process_that_ends_otherwise(tmp_path: Path, places: Path, body: str, kind: str, says: str) -> None:
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, body))
    assert caught.value.kind == kind and says in caught.value.problems[0].message and os.listdir(places) == []
    if kind == "out-of-memory":
        assert isinstance(caught.value, Refusal) and caught.value.needed == 7
        assert caught.value.problems[0].setting == "max_seq_length"


def test_no_interpreter(tmp_path: Path, places: Path) -> None:
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, worker_python=tmp_path / "none"))
    assert caught.value.problems[0].setting == "worker_python"
    (tmp_path / "odd").write_text("not a program")
    (tmp_path / "odd").chmod(0o755)
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, worker_python=tmp_path / "odd"))
    assert "cannot be started" in caught.value.problems[0].message and os.listdir(places) == []


CHILDREN = """
import subprocess
child = subprocess.Popen(["sleep", "60"])
open({pids!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
say(phase="loading")
time.sleep(60)
"""


@pytest.mark.parametrize("how", ["cancelled", "timeout", "a fault of whoever is told"])
def test_it_and_all_that_it_started_are_ended_at_once(tmp_path: Path, places: Path, how: str) -> None:
    settings, cancelled = config(tmp_path, CHILDREN.format(pids=str(tmp_path / "pids"))), threading.Event()

    def tell(*what: Any) -> None:
        begun.append(time.monotonic())
        cancelled.set() if how == "cancelled" else None
        if how.startswith("a fault"):
            raise KeyboardInterrupt

    begun: list[float] = []
    with pytest.raises((InspectError, KeyboardInterrupt)) as caught:
        rehearse(settings, tell=tell, cancelled=cancelled, timeout=1.0 if how == "timeout" else 60)
    assert time.monotonic() - begun[0] < 3
    assert how.startswith("a fault") or caught.value.kind == how  # type: ignore[union-attr]
    wait_for(lambda: all(process.started(int(pid)) is None for pid in (tmp_path / "pids").read_text().split()))
    assert os.listdir(places) == []


def test_cancelled_before_it_begins(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, "open('began', 'w')"), cancelled=cancelled)
    assert caught.value.kind == "cancelled"


def test_what_the_checks_refuse_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.rehearsal._Child", lambda *args: pytest.fail("was tried"))
    bad = write_rows(tmp_path / "bad.jsonl", [3, 4])
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, train_path=bad))
    assert caught.value.problems[0].file == str(bad)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there
    with pytest.raises(InspectError) as caught:
        rehearse(config(tmp_path, base_model="nobody/no-such-model"))
    assert caught.value.problems[0].setting == "base_model"


def test_code_of_a_model_needs_consent_here_too(tmp_path: Path) -> None:
    from engine.models import consent

    model = tmp_path / "model"
    shutil.copytree(SAMPLE / "tiny-qwen2", model)
    settings = json.loads((model / "config.json").read_text())
    settings["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own"}
    (model / "config.json").write_text(json.dumps(settings))
    (model / "modeling_own.py").write_text("Own = None\n")
    tell = "say(error={'kind': 'failed', 'message': str(request['code']), 'hint': ''})"
    wanted = config(tmp_path, tell, base_model=model, trust_remote_code="true")
    with pytest.raises(InspectError) as caught:
        rehearse(wanted)
    assert caught.value.kind == "needs-consent"
    code = consent.code_of(str(model), None)
    assert code is not None
    consent.agree(code)
    with pytest.raises(InspectError) as caught:
        rehearse(wanted)
    assert code.sha256 in caught.value.problems[0].message
    with pytest.raises(InspectError) as caught:
        rehearse(wanted.model_copy(update={"trust_remote_code": False}))
    assert "the dry run failed: None" in caught.value.problems[0].message


def test_it_is_remembered_for_what_it_was_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 5)
    settings = config(tmp_path, f"say(result={MEASURED!r})", train_path=rows)
    assert remembered(settings) is None
    rehearse(settings)
    assert remembered(settings) == FOUND

    def changed(**values: Any) -> Rehearsal | None:
        return remembered(settings.model_copy(update=values))

    assert changed(output_dir="/elsewhere", run_name="x", save_steps=7, max_steps=9, learning_rate=1.0) == FOUND
    (tmp_path / "copy.jsonl").write_bytes(rows.read_bytes())
    assert changed(train_path=str(tmp_path / "copy.jsonl")) == FOUND
    for more in ({"lora_r": 8}, {"max_seq_length": 64}, {"batch_size": 2}, {"eval_fraction": 0.5}, {"worker_python": None},
                 {"gradient_checkpointing": True}, {"chat_template_path": "chatml"}, {"train_path": f"{rows}:2"}):  # fmt: skip
        assert changed(**more) is None, more
    with monkeypatch.context() as patch:
        patch.setattr(slots, "cards_now", lambda: [Gpu(0, "Card", 0, 2**34)])
        assert remembered(settings) is None
    write_rows(rows, 6)
    assert remembered(settings) is None
    (file,) = (paths.cache_dir() / "rehearsals").glob("*.json")
    write_rows(rows, 5)
    for damage in (b"", b"[]", b"{}", json.dumps({**asdict(FOUND), "step_seconds": "x"}).encode()):
        file.write_bytes(damage)
        assert remembered(settings) is None


def test_the_card_is_chosen_as_for_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = [Gpu(0, "A", 2**30, 2**34, processes=1, uuid="GPU-aaaa"), Gpu(1, "B", 2**32, 2**34, uuid="GPU-bbbb"),
             Gpu(2, "C", 2**33, 2**34, uuid="GPU-cccc")]  # fmt: skip
    monkeypatch.setattr(slots, "cards_now", lambda: cards)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = config(tmp_path)

    def chosen(**more: Any) -> tuple[str | None, str | None]:
        card, devices = place(settings.model_copy(update=more))
        return card.name if card else None, devices

    assert chosen() == ("B", "1")  # A has more room, but somebody computes there
    assert chosen(gpus=[2]) == ("C", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert chosen() == ("C", "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")
    assert chosen() == ("A", "0")
    monkeypatch.setattr(slots, "cards_now", lambda: [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert chosen() == (None, None)


def test_what_was_measured_holds_for_the_same_layout_only() -> None:
    chosen = {
        "gradient_checkpointing": True,
        "end_to_end": True,
        "dtype": "bfloat16",
        "tokens_per_pass": 8192,
        "cuda_graphs": True,
    }
    measured = replace(FOUND, peak=10, reserved=12, chosen=chosen)
    assert measured.held == 12 and replace(measured, chosen=None).held == 10
    assert measured.holds_for(chosen) and measured.holds_for({**chosen, "tokens_per_pass": 7000})
    assert not measured.holds_for({**chosen, "tokens_per_pass": 2048}) and not measured.holds_for(
        {**chosen, "end_to_end": False}
    )
    assert not measured.holds_for({**chosen, "gradient_checkpointing": False}) and FOUND.holds_for(chosen)


def test_seconds_of_a_whole_run() -> None:
    # 0.5 s for 1,000 tokens and 2 s for 8,000: each step costs 0.2857 s, each token 0.2143 ms.
    assert FOUND.seconds(100, 100_000) == pytest.approx(50.0) and FOUND.seconds(100, 800_000) == pytest.approx(200.0)
    alone = replace(FOUND, usual_seconds=None, usual_tokens=None)
    assert alone.seconds(100, 400_000) == pytest.approx(100.0)
    alike = replace(FOUND, usual_seconds=1.0, usual_tokens=8000)
    assert alike.seconds(10, 80_000) == pytest.approx(15.0)
    odd = replace(FOUND, usual_seconds=3.0)  # shorter rows took longer: each step costs that
    assert odd.seconds(10, 10_000) == pytest.approx(30.0)


def test_out_of_memory_in_words() -> None:
    said = explained(MemoryError(), {}, "loading")
    assert said["kind"] == "out-of-memory" and "own memory while the model is loaded" in said["message"]
    pytest.importorskip("torch")
    text = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 12.25 MiB is free."
    said = explained(RuntimeError(text), {"batch_size": 4}, "training")
    assert "a step over the longest rows: asked for 2.5 GiB more, 12 MiB were free" in said["message"]
    assert said["needed"] == int(2.5 * 2**30)


COSTS = {"trainable": 10_000_000, "parameters": 7_000_000_000, "cuda": True, "linear": 6_500_000_000, "largest_linear": 70_000_000,
         "layers": 28, "hidden": 3584, "heads": 28, "vocabulary": 150_000, "positions": 32768,
         "layer": {"outputs": 50_000, "widest": 18_944, "norms": 2, "experts": 0, "adapter_inputs": 40_000, "adapters": 7},
         "chosen": {"dtype": "bfloat16", "attn_implementation": "sdpa", "optim": "adamw_torch_fused", "gradient_checkpointing": True,
                    "use_liger_kernel": True, "packing": False, "padding_free": False}}  # fmt: skip


class Costs:
    """An inspector that knows sizes and nothing else."""

    def ask(self, what: str, timeout: float = 60.0, cancelled: Any = None, **fields: Any) -> dict[str, Any]:
        if what == "lengths":
            raise Refusal(_problem())
        return COSTS if what == "costs" else {"problems": []}


def _problem() -> Any:
    from engine.errors import Problem

    return Problem("timeout", "says nothing", "")


def big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> Sheet:
    monkeypatch.setattr(hardware, "gpus", lambda: [Gpu(0, "Card", 0, free, capability=(9, 0))])
    return sheet(config(tmp_path, batch_size=8, max_seq_length=4096), Costs())  # type: ignore[arg-type]


def test_the_measured_peak_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = big(tmp_path, monkeypatch, 24 * 2**30)
    assert (
        found.memory is not None
        and found.memory.total > 24 * 2**30
        and [w.kind for w in found.warnings if w.kind == "memory"]
    )
    rehearsed(found, replace(FOUND, gpu=0, gpu_name="Card", peak=20 * 2**30, reserved=21 * 2**30))
    assert not [w for w in found.warnings if w.kind == "memory"] and found.fixes == [] and found.needed is not None
    rehearsed(found, replace(FOUND, gpu=0, gpu_name="Card", peak=30 * 2**30, reserved=31 * 2**30))
    (said,) = [w for w in found.warnings if w.kind == "memory"]
    assert "measured by a dry run" in said.message and "30.6 GiB" in said.message and said.setting == "batch_size"
    assert all(fix["total"] <= 24 * 2**30 for fix in found.fixes) and found.as_dict()["dry_run"]["peak"] == 30 * 2**30


def test_what_ran_out_of_memory_is_refused_with_what_would_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = big(tmp_path, monkeypatch, 80 * 2**30)
    assert found.ok and found.memory is not None and found.memory.total < 80 * 2**30  # by the estimate it would fit
    refused(found, Refusal(replace(_problem(), kind="out-of-memory", message="runs out of GPU memory"), 85 * 2**30))
    (said,) = found.errors
    assert said.kind == "out-of-memory" and "Set batch_size" in said.hint and said.setting == "batch_size"
    assert found.fixes and all(fix["total"] <= 80 * 2**30 for fix in found.fixes) and not found.ok


def test_seconds_come_from_it_where_no_run_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = big(tmp_path, monkeypatch, 80 * 2**30)
    assert found.seconds is found.time_from is None and found.plan is not None and found.config is not None
    found.lengths = Lengths(4096, rows=400, usable=400, tokens=100_000, kept=100_000)
    steps, tokens = found.plan.total_steps, 300_000
    rehearsed(found, FOUND)
    assert found.seconds == FOUND.seconds(steps, tokens) and found.time_from == "dry run"
    monkeypatch.setattr("engine.preflight.speed.seconds", lambda config, tokens: 77.0)
    rehearsed(found, FOUND)
    assert (found.seconds, found.time_from) == (77.0, "runs")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["preflight", "--base_model", str(SAMPLE / "tiny-qwen2"), "--train_path", str(SAMPLE / "train.jsonl"),
             "--output_dir", str(tmp_path / "out"), "--dry_run"]  # fmt: skip
    monkeypatch.setattr("engine.cli.train.inspector_of", lambda config: _Closing())
    monkeypatch.setattr("engine.rehearsal.rehearse", lambda config, **more: FOUND)
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert (
        "a step of 8,000 tokens takes 2.00 s, 0.50 s over rows as they come" in out
        and "longest row 2,000 tokens" in out
    )

    def refuse(config: Any, **more: Any) -> Any:
        raise Refusal(
            replace(_problem(), kind="out-of-memory", message="runs out of GPU memory in a step", hint="Less"), 3
        )

    monkeypatch.setattr("engine.rehearsal.rehearse", refuse)
    assert main(flags) == 2
    assert "error: runs out of GPU memory in a step. Less" in capsys.readouterr().err
    assert main([*flags, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert [p["kind"] for p in found["errors"]] == ["out-of-memory"] and found["dry_run"] is None


class _Closing(Costs):
    def ask(self, what: str, timeout: float = 60.0, cancelled: Any = None, **fields: Any) -> dict[str, Any]:
        raise Refusal(_problem())

    def close(self) -> None:
        pass

    def warm(self, config: Any) -> None:
        pass

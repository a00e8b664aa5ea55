"""On a machine with an NVIDIA GPU: precision, memory figures and out-of-memory are what the card says."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import hardware, paths, process
from engine.config import parse
from engine.launchers import launch
from engine.rundir import RunDir
from tests.support import ended, read_events, wait_for
from tui.watch import condition
from tui.watch.facts import Facts
from tui.watch.feed import WatchFeed
from tui.watch.hardware import lines

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hardware.gpus(), reason="needs an NVIDIA GPU")]
SAMPLE = paths.sample_data_dir()


def start(output: Path, **values: object) -> RunDir:
    settings = {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "eval_path": SAMPLE / "eval.jsonl",
                "output_dir": output, "max_seq_length": 256, "batch_size": 4, "gradient_accumulation_steps": 1, "lora_alpha": 32,
                "learning_rate": 5e-4, "save_steps": 50, "eval_steps": 25, **values}  # fmt: skip
    return launch(parse({name: str(value) for name, value in settings.items()}))


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of about 1.2 billion parameters behind the sample tokenizer."""
    folder = tmp_path_factory.mktemp("large") / "model"
    code = f"""
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
tokenizer = AutoTokenizer.from_pretrained({str(SAMPLE / "tiny-qwen2")!r})
config = Qwen2Config(vocab_size=2560, hidden_size=2048, intermediate_size=5632, num_hidden_layers=24, num_attention_heads=16,
                     num_key_value_heads=8, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
with torch.device("cuda"):
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
print(model.num_parameters())
model.save_pretrained({str(folder)!r})
tokenizer.save_pretrained({str(folder)!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    return folder


def test_bf16_and_memory_figures(tmp_path: Path, large_model: Path) -> None:
    run = start(tmp_path / "out", base_model=large_model, max_steps=120, eval_path="", eval_steps="", save_steps=1000)
    wait_for(lambda: (run.read_status() or {}).get("step", 0) >= 20, 300)
    pid = (run.read_status() or {})["pid"]
    nvml = hardware.gpus()[0].memory_used / 2**20
    smi = subprocess.run(["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"],
                         capture_output=True, text=True, check=True).stdout  # fmt: skip
    card = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"], capture_output=True, text=True,
                          check=True).stdout  # fmt: skip
    status = ended(run, 300)
    assert status["state"] == "completed", status["reason"]
    record = run.read_run() or {}
    assert record["auto"]["dtype"]["value"] == "bfloat16"
    steps = [e for e in read_events(run) if e["type"] == "step"]
    assert len(steps) == 120
    for step in steps:
        assert 2e9 < step["gpu_memory_allocated"] <= step["gpu_memory_peak"] <= step["gpu_memory_reserved"] * 1.001
    seen = [json.loads(line) for line in run.supervisor_events.read_text().splitlines() if '"hardware"' in line]
    used = max(g["memory_used"] for e in seen for g in e["gpus"]) / 2**20
    print("nvidia-smi MiB:", card.strip(), "apps:", smi.strip(), "pid", pid, "NVML then and at most MiB:", round(nvml), round(used),
          "reserved MiB:", round(steps[-1]["gpu_memory_reserved"] / 2**20), "peak MiB:", round(steps[-1]["gpu_memory_peak"] / 2**20),
          "step s:", sorted(e["step_seconds"] for e in steps)[60], "tokens/s:", steps[-1]["tokens_per_second"])  # fmt: skip
    assert abs(nvml - float(card.split()[0])) / nvml < 0.02
    assert all(
        g["utilization"] is not None and g["temperature"] > 0 and g["power"] > 0 for e in seen for g in e["gpus"]
    )


def test_the_sample_run_learns(tmp_path: Path) -> None:
    run = start(tmp_path / "out", num_train_epochs=1.5)
    assert ended(run, 300)["state"] == "completed"
    losses = [e["eval_loss"] for e in read_events(run) if e["type"] == "eval"]
    print("eval losses", losses)
    assert losses[-1] < losses[0] * 0.67


def test_fp16_keeps_the_adapter_in_float32(tmp_path: Path) -> None:
    from engine.checkpoints import safetensors_header

    run = start(
        tmp_path / "out", dtype="float16", max_steps=20, gradient_checkpointing="false", attn_implementation="eager"
    )
    status = ended(run, 300)
    assert status["state"] == "completed", status["reason"]
    header = safetensors_header(run.path / "adapter_model.safetensors") or {}
    assert {v["dtype"] for k, v in header.items() if k != "__metadata__"} == {"F32"}
    assert all(isinstance(e["loss"], float) for e in read_events(run) if e["type"] == "step")


def test_padding_free_and_packing_on_the_card(tmp_path: Path) -> None:
    for name, more in {"padding_free": {"padding_free": "true"}, "packing": {"packing": "true"}}.items():
        run = start(tmp_path / name, max_steps=10, **more)
        status = ended(run, 300)
        assert status["state"] == "completed", (name, status["reason"])


def smi(fields: str) -> list[list[str]]:
    """What nvidia-smi says of each card."""
    done = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]


def test_what_is_shown_of_the_card_is_what_nvidia_smi_says(tmp_path: Path, large_model: Path) -> None:
    run = start(
        tmp_path / "out", base_model=large_model, max_steps=20_000, eval_path="", eval_steps="", save_steps=100_000
    )
    try:
        wait_for(lambda: (run.read_status() or {}).get("step", 0) >= 30, 300)
        feed = WatchFeed(run.path)
        worst, close = 0.0, 0
        for _ in range(4):
            since = time.time()
            facts = wait_for(lambda t=since: (f := newest(feed)) and (f.machine.time or 0) >= t and f, 20, every=0.05)
            rows = smi("index,memory.used,memory.total,temperature.gpu,utilization.gpu,power.draw,power.limit")
            text = "\n".join("".join(part for part, _ in line) for line in lines(facts, time.time(), 120, 40))
            assert len(facts.machine.cards) == len(rows)
            for card, row in zip(facts.machine.cards, rows, strict=True):
                used, total, heat, use, power, limit = map(float, row[1:])
                assert card.index == int(row[0]) and card.used is not None and card.total is not None
                error = abs(card.used / 2**20 - used) / used
                worst = max(worst, error) if card.mine else worst
                print(f"GPU {card.index}{' (this run)' if card.mine else ''}: shown / nvidia-smi: memory "
                      f"{card.used / 2**20:.0f} / {used:.0f} MiB ({error:.2%}), of {card.total / 2**20:.0f} / {total:.0f}, "
                      f"{card.temperature} / {heat} °C, {card.utilization} / {use} %, {card.power} / {power} W")  # fmt: skip
                assert abs(card.total / 2**20 - total) / total < 0.02
                assert card.temperature is not None and abs(card.temperature - heat) <= 3
                assert card.utilization is not None and 0 <= card.utilization <= 100
                assert card.power is not None and 0 < card.power <= 1.1 * limit
                assert card.power_limit == pytest.approx(limit, abs=1)
                assert f"{card.used / 2**30:.1f} / {card.total / 2**30:.0f} GiB" in text or len(rows) > 1
                close += card.mine is True and abs(card.power - power) < 0.25 * limit
        mine = facts.machine.mine
        assert len(mine) == 1 and mine[0].mine and mine[0].utilization, mine
        values = facts.values
        own = [values[f"gpu_memory_{name}"] or 0 for name in ("allocated", "peak", "reserved")]
        print("allocated, peak, reserved MiB:", [round(v / 2**20) for v in own], "of this run by NVML:", mine[0].own,
              "largest difference of memory:", f"{worst:.2%}", "power close:", close)  # fmt: skip
        print(text)
        print("".join(part for part, _ in condition.line(facts, time.time())))
        assert worst < 0.02 and close >= 2
        assert 0 < own[0] <= own[1] <= own[2] * 1.001 and own[2] <= (mine[0].used or 0)
        reader = hardware.CardReader()
        reader.read()
        began = time.thread_time()
        for _ in range(20):
            reader.read()
        cost = (time.thread_time() - began) / 20
        print(f"one reading of {len(rows)} cards: {cost * 1000:.2f} ms of processor time, {cost / 5:.3%} of a core")
        assert cost / 5 < 0.005
    finally:
        run.request("stop-now")
        ended(run, 60)


def newest(feed: WatchFeed) -> Facts | None:
    """The newest facts of a run, once all of it is read."""
    update = feed.poll()
    return update.facts if update is not None and update.caught_up else None


def test_out_of_gpu_memory_is_said_in_words(tmp_path: Path, large_model: Path) -> None:
    # One long row repeated, so that a batch cannot fit on any card lent here.
    row = {"messages": [{"role": "user", "content": "a word"}, {"role": "assistant", "content": "word " * 20000}]}
    data = tmp_path / "long.jsonl"
    data.write_text("\n".join([json.dumps(row)] * 130))
    run = start(tmp_path / "out", base_model=large_model, train_path=data, eval_path="", eval_steps="", batch_size=64, max_seq_length=32768,
                gradient_checkpointing="false", attn_implementation="eager", max_steps=3)  # fmt: skip
    status = ended(run, 400)
    print(status["reason"])
    assert (
        status["state"] == "failed"
        and "out of GPU memory" in status["reason"]
        and "batch_size (64)" in status["reason"]
    )


def test_a_killed_run_leaves_nothing_on_the_card(tmp_path: Path, large_model: Path) -> None:
    before = hardware.gpus()[0].memory_used
    run = start(tmp_path / "out", base_model=large_model, max_steps=5000, dataloader_num_workers=2)
    status = wait_for(lambda: (s := run.read_status() or {}).get("step") and s, 300)
    import os

    os.kill(status["pid"], signal.SIGKILL)
    assert ended(run)["state"] == "killed"
    wait_for(lambda: hardware.gpus()[0].memory_used < before + 2**28, 20)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_runs_wait_for_the_card_and_for_other_programs_on_it(tmp_path: Path) -> None:
    first = start(tmp_path / "first", max_steps=100_000)
    wait_for(lambda: (first.read_status() or {}).get("state") == "running", 120)
    second = start(tmp_path / "second", max_steps=5, eval_path="", eval_steps="")
    status = second.read_status() or {}
    assert (status["state"], status["queue_position"]) == ("queued", 1), status
    assert (first.read_run() or {})["id"] in status["waits_for"] and "GPU 0" in status["waits_for"]
    first.request("stop")
    ended(first, 60)
    code = "import torch, time; x = torch.zeros(1, device='cuda'); print('there', flush=True); time.sleep(600)"
    assert ended(second, 120)["state"] == "completed"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None and other.stdout.readline()
            third = start(tmp_path / "third", max_steps=5, eval_path="", eval_steps="")
            status = third.read_status() or {}
            assert status["state"] == "queued" and "process" in status["waits_for"], status
            beside = start(tmp_path / "beside", max_steps=5, eval_path="", eval_steps="", queue=False)
            assert ended(beside, 120)["state"] == "completed"
            assert (third.read_status() or {})["state"] == "queued"
        finally:
            other.kill()
    assert ended(third, 120)["state"] == "completed"


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    from engine import resume
    from engine.snapshot import RunFollower

    options = {"max_steps": 60, "save_steps": 10, "eval_steps": 20}
    control = start(tmp_path / "control", **options)
    assert ended(control, 200)["state"] == "completed"
    run = start(tmp_path / "run", **options)
    wait_for(lambda: (run.read_status() or {}).get("step", 0) >= 25, 120)
    assert process.signal_exactly(run.read_status() or {}, signal.SIGKILL, run.lock)
    assert ended(run, 10)["state"] == "killed"
    plan = resume.plan(run)
    assert plan.ok and plan.step >= 20, plan.errors
    resume.start(plan)
    assert ended(run, 200)["state"] == "completed"
    ours, theirs = (RunFollower(r.path).read_all().steps for r in (run, control))
    assert list(ours.steps) == list(theirs.steps) == list(range(1, 61))
    worst = max(abs(a - b) / b for a, b in zip(ours.column("loss"), theirs.column("loss"), strict=True))
    same = (run.path / "adapter_model.safetensors").read_bytes() == (
        control.path / "adapter_model.safetensors"
    ).read_bytes()
    print("largest relative difference of a loss after the resume:", worst, "adapter equal byte for byte:", same)
    assert worst < 0.02

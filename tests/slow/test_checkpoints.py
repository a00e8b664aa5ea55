"""Real checkpoints of the sample model: the same contents as plain TRL's, and a disk that fails while they are written."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.checkpoints import checkpoints, newest_valid, verify
from engine.config import parse
from engine.launchers import launch
from engine.rundir import RunDir
from tests import preloaded
from tests.support import ended

pytestmark = pytest.mark.slow
SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"
ROOT = Path(__file__).parent.parent.parent

# Trains twice from one seed: with TRL's own trainer into plain/, with ours into ours/, where others' work stands already.
TWICE = """
import gc, json, os, shutil, sys
gc.disable()  # loads faster
from pathlib import Path
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer
from engine.rundir import RunDir, write_json
from engine.worker.checkpointing import Keeper
from engine.worker.trainer import RunTrainer

model, train, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
rows = [json.loads(line)["messages"] for line in open(train, encoding="utf-8").readlines()[:24]]
data = Dataset.from_dict({"messages": rows})

def trainer(kind, out, **more):
    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model)
    return kind(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), train_dataset=data, eval_dataset=data.select(range(4)),
        args=SFTConfig(output_dir=str(out), max_steps=4, per_device_train_batch_size=2, learning_rate=1e-3, max_length=96,
                       save_steps=1, eval_strategy="steps", eval_steps=1, load_best_model_at_end=True, save_strategy="steps",
                       metric_for_best_model="eval_loss", greater_is_better=False, save_total_limit=more.pop("limit", None),
                       logging_steps=1, report_to="none", use_cpu=True, bf16=False, gradient_checkpointing=False, disable_tqdm=True),
        processing_class=tokenizer, peft_config=LoraConfig(r=4, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]), **more)

os.chdir(folder)
plain = trainer(SFTTrainer, "plain/out")
plain.train()
plain.save_model("plain/out")
plain.save_state()
run = RunDir("ours/out")
run.make()
write_json(run.run_json, {"id": "mine"})
others = run.path / "checkpoint-3"
others.mkdir()
(others / "weights.bin").write_text("another's")
said = []
ours = trainer(RunTrainer, "ours/out", keeper=Keeper(run, run_id="mine", attempt=1, limit=2, say=said.append))
ours.train()
ours.save_final()
print("SAID", json.dumps(said))
print("BEST", json.dumps([plain.state.best_model_checkpoint, ours.state.best_model_checkpoint]))
"""


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("twice")
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    python = preloaded.interpreter(folder / "python")
    result = subprocess.run([python, "-c", TWICE, str(MODEL), str(SAMPLE / "train.jsonl"), str(folder)], text=True,
                            capture_output=True, check=False, timeout=300, env=env)  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    return folder, result.stdout


def _comparable(file: Path) -> Any:
    """A file's contents without the clock, the paths of the two directories, and the arguments in which they differ."""
    if file.name == "trainer_state.json":
        state = json.loads(file.read_text().replace("plain/out", "OUT").replace("ours/out", "OUT"))
        for row in state["log_history"]:
            for key in [key for key in row if key.endswith(("runtime", "per_second"))]:
                row.pop(key)
        return json.dumps(state)  # text: a NaN would not equal itself
    if file.name == "training_args.bin":
        return "a pickle: it is not loaded here"
    return file.read_bytes()


def test_contents_are_those_of_plain_trl(twice: tuple[Path, str]) -> None:
    folder, _ = twice
    plain, ours = folder / "plain/out", folder / "ours/out"
    for name, more in (("checkpoint-4", {"manifest.json"}), ("", set())):
        left = {f.name for f in (plain / name).iterdir() if f.is_file()}
        right = {f.name for f in (ours / name).iterdir() if f.is_file()}
        assert right - left == more and left <= right
        different = [n for n in left if _comparable(plain / name / n) != _comparable(ours / name / n)]
        assert different == [], name or "root"
    (last,) = [c for c in checkpoints(ours) if c.step == 4]
    assert verify(last) == "" and last.finite and last.run == "mine"
    assert not (ours / ".tunedeck/partial").exists()


def test_rotation_left_what_others_wrote(twice: tuple[Path, str]) -> None:
    folder, out = twice
    ours = folder / "ours/out"
    assert (ours / "checkpoint-3.foreign-1/weights.bin").read_text() == "another's" and "foreign-1" in out
    own = [c.step for c in checkpoints(ours) if c.run == "mine"]
    best_plain, best_ours = json.loads(out.split("BEST ", 1)[1].splitlines()[0])
    best = int(best_ours.rsplit("-", 1)[1])
    assert best_ours == best_plain.replace("plain", "ours")
    assert own == sorted({best, 4, *([3] if best == 4 else [])})


def test_the_adapter_loads_with_plain_peft(twice: tuple[Path, str]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    for name in ("", "checkpoint-4"):
        base = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
        ids = torch.arange(5, 15)[None]
        with torch.no_grad():
            before = base(ids).logits
            after = PeftModel.from_pretrained(base, twice[0] / "ours/out" / name)(ids).logits
        assert (after - before).abs().max() > 1e-4


# -- a disk that fails ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this account may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


FAULT = """
# Before the worker: something is done to the disk at a chosen moment.
import gc, os, resource
from engine.worker import checkpointing
begin = checkpointing.Keeper.begin
def fill(folder, leaving):
    # To the last byte, but for so many: they are freed again from a second file.
    spare = os.open(os.path.join(folder, "spare"), os.O_CREAT | os.O_WRONLY)
    os.write(spare, bytes(leaving))
    with open(os.path.join(folder, "filler"), "ab", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
    os.ftruncate(spare, 0)
def breaks(name):
    {body}
def broken(self, name):
    stage = begin(self, name)
    assert gc.isenabled() and gc.get_freeze_count() > 100_000, "what was imported is not looked through again"
    breaks(name)
    return stage
checkpointing.Keeper.begin = broken
"""


def train(output: Path, body: str = "", **more: Any) -> tuple[RunDir, dict[str, Any]]:
    """Train six steps, saving every second, in the real worker with a fault; returns how it ended."""
    folder = output.parent.parent
    python = preloaded.interpreter(folder / "python", FAULT.format(body=body or "pass"))
    rows = folder / "rows.jsonl"
    rows.write_text("".join((SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines(True)[:24]))
    settings = {"base_model": str(MODEL), "train_path": str(rows), "output_dir": str(output), "lora_r": 4, "max_steps": 6,
                "max_seq_length": 96, "save_steps": 2, "worker_python": str(python), "queue": False, **more}  # fmt: skip
    run = launch(parse(settings))
    return run, ended(run, 120)


def good_and_nothing_half(run: RunDir, step: int) -> None:
    """The newest checkpoint is that of ``step``, whole, and no half one takes up room."""
    newest = newest_valid(run.path)
    assert newest is not None and newest.step == step and verify(newest) == ""
    partial = run.meta / "partial"
    assert not partial.exists() or set(os.listdir(partial)) <= {"reserve"}
    assert all(c.valid for c in checkpoints(run.path))


@pytest.mark.parametrize("leaving", [0, 300_000, 600_000])
def test_a_disk_that_fills_while_a_checkpoint_is_written(tmp_path: Path, leaving: int) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        run, status = train(disk / "out", f"if name == 'checkpoint-4': fill({str(disk)!r}, {leaving})")
        assert status["state"] == "failed" and status["resumable"], status
        assert status["reason"].startswith("disk full: checkpoint-4 needs"), status["reason"]
        assert str(disk) in status["reason"] and "checkpoint-2 is complete" in status["reason"]
        good_and_nothing_half(run, 2)


@pytest.mark.parametrize("leaving", [100_000])
def test_a_disk_that_fills_during_the_final_save(tmp_path: Path, leaving: int) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        run, status = train(disk / "out", f"if name == 'final': fill({str(disk)!r}, {leaving})")
        assert status["state"] == "failed" and status["reason"].startswith("disk full: the final adapter needs"), status
        good_and_nothing_half(run, 6)
        assert not (run.path / "adapter_model.safetensors").exists()


def test_a_full_disk_is_seen_before_a_checkpoint_is_begun(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        # One that is begun shows: its name is noted.
        body = f"open({str(tmp_path / 'begun')!r}, 'a').write(name + '\\n'); name == 'checkpoint-4' and fill({str(disk)!r}, 1_200_000)"
        run, status = train(disk / "out", body)
        assert status["reason"].startswith("disk full: checkpoint-6 needs"), status
        assert (tmp_path / "begun").read_text().split() == ["checkpoint-2", "checkpoint-4"]
        good_and_nothing_half(run, 4)


def test_a_disk_that_others_fill_to_the_last_byte_between_saves(tmp_path: Path) -> None:
    # Not even an event could be written then: the reserve that the run holds is for its last words.
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        later = f"setattr(checkpointing.Keeper, 'rotate', lambda self: fill({str(disk)!r}, 0))"
        run, status = train(disk / "out", f"if name == 'checkpoint-2': {later}")
        assert status["state"] == "failed", status
        assert status["reason"].startswith("disk full: checkpoint-4 needs") and "0 bytes are free" in status["reason"]
        good_and_nothing_half(run, 2)


def test_within_its_limit_a_run_makes_room_for_itself(tmp_path: Path) -> None:
    # From checkpoint-4 on there is room for it and the final adapter only, not for a third checkpoint.
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        body = f"name == 'checkpoint-4' and fill({str(disk)!r}, 1_600_000)"
        run, status = train(disk / "out", body, save_total_limit=2)
        assert status["state"] == "completed", status
        assert [c.step for c in checkpoints(run.path)] == [4, 6]
        good_and_nothing_half(run, 6)


@pytest.mark.parametrize("leaving", [3, 30])
def test_too_few_inodes(tmp_path: Path, leaving: int) -> None:
    # Too few for the checkpoint that is being written, or for the one after it.
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=200") as disk:
        use_up = f"[open({str(disk)!r} + f'/{{n}}', 'w').close() for n in range(os.statvfs({str(disk)!r}).f_favail - {leaving})]"
        run, status = train(disk / "out", f"if name == 'checkpoint-4': {use_up}", max_steps=8)
        assert status["state"] == "failed" and status["reason"].startswith("disk full: checkpoint-"), status
        assert "files (inodes)" in status["reason"] and "is complete" in status["reason"]
        good_and_nothing_half(run, 2 if leaving == 3 else 6)


@pytest.mark.parametrize(("moment", "step"), [("checkpoint-4", 2), ("final", 6)])
def test_a_disk_that_reports_errors_as_it_is_flushed(tmp_path: Path, moment: str, step: int) -> None:
    fail = "exec('def f(fd):\\n import errno\\n raise OSError(errno.EIO, os.strerror(errno.EIO))\\nos.fsync = f', globals())"
    run, status = train(tmp_path / "disk/out", f"if name == {moment!r}: {fail}")
    assert status["state"] == "failed" and status["reason"].startswith("the disk reported an error (EIO)"), status
    good_and_nothing_half(run, step)


@pytest.mark.parametrize(("moment", "step"), [("checkpoint-4", 2), ("final", 6)])
def test_too_many_open_files(tmp_path: Path, moment: str, step: int) -> None:
    few = (
        "exec('resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096))\\ntry:\\n while True: os.dup(0)\\n"
        "except OSError: pass')"
    )
    run, status = train(tmp_path / "disk/out", f"if name == {moment!r}: {few}")
    assert status["state"] == "failed" and status["reason"].startswith("too many open files"), status
    newest = newest_valid(run.path)
    assert newest is not None and newest.step == step and verify(newest) == ""
    assert all(c.valid for c in checkpoints(run.path))


def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    from engine.worker import disk as troubles

    with small_disk(tmp_path / "disk", "size=16m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        hidden = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
        number = troubles.trouble(hidden, disk)
        assert number is not None and troubles.explain(number, "checkpoint-4", disk).startswith("read-only file system")


def test_killed_while_the_final_adapter_is_put_in_place(tmp_path: Path) -> None:
    kill = (
        "exec('import signal\\nreplace = os.replace\\ndef r(a, b):\\n replace(a, b)\\n"
        ' if str(b).endswith("tokenizer.json"): os.kill(os.getpid(), signal.SIGKILL)\\nos.replace = r\', globals())'
    )
    run, status = train(tmp_path / "disk/out", f"if name == 'final': {kill}")
    assert status["state"] == "killed" and status["resumable"], status
    newest = newest_valid(run.path)
    assert newest is not None and newest.step == 6 and verify(newest) == ""
    assert (run.path / "adapter_config.json").is_file() and not (run.path / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("flushed", [1, 13])
def test_killed_while_a_checkpoint_is_written_and_resumed(tmp_path: Path, flushed: int) -> None:
    kill = (
        f"exec('import signal\\nfsync, left = os.fsync, [{flushed}]\\ndef f(fd):\\n fsync(fd)\\n left[0] -= 1\\n"
        " if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\\nos.fsync = f', globals())"
    )
    body = f"if name == 'checkpoint-4' and os.environ['TUNEDECK_ATTEMPT'] == '1': {kill}"
    run, status = train(tmp_path / "disk/out", body)
    assert status["state"] == "killed" and status["resumable"], status
    assert [c.step for c in checkpoints(run.path)] == [2] and (run.meta / "partial/checkpoint-4").is_dir()
    resumed = subprocess.run([sys.executable, "-m", "tui", "resume", str(run.path)], capture_output=True, text=True,
                             check=False, stdin=subprocess.DEVNULL, timeout=200)  # fmt: skip
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert [(c.step, c.attempt) for c in checkpoints(run.path)] == [(2, 1), (4, 2), (6, 2)]
    good_and_nothing_half(run, 6)
    assert not (run.meta / "partial").exists()

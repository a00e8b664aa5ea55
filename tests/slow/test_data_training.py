"""Real training on data of other formats: what is learned are the same chats, whatever the file looked like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.rundir import RunDir
from tests import datafiles, preloaded
from tests.support import read_events

pytestmark = pytest.mark.slow

SAMPLE = paths.sample_data_dir()
COUNT = 16


def pairs() -> list[tuple[str, str]]:
    """Question and answer of the first short chats of the sample data."""
    found = []
    for line in (SAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        turns = [message["content"] for message in messages if message["role"] != "system"]
        if len(turns) == 2:
            found.append((turns[0], turns[1]))
    return found[:COUNT]


def files(folder: Path) -> dict[str, tuple[str, str, int]]:
    """Name, setting and shape of files with the same chats, and the number of rows that are trained on."""
    chats = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs()]
    plain = datafiles.jsonl(folder / "messages.jsonl", [{"messages": chat} for chat in chats])
    share = [
        {"id": n, "conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
        for n, (q, a) in enumerate(pairs())
    ]
    alpaca = [{"instruction": q, "input": "", "output": a} for q, a in pairs()]
    broken = folder / "broken.jsonl"
    broken.write_text(
        "{\n" + datafiles.text(alpaca[:3]) + '{"instruction": "no answer"}\n' + datafiles.text(alpaca[3:]),
        encoding="utf-8",
    )
    return {
        "messages": (str(plain), "messages", COUNT),
        "sharegpt": (str(datafiles.json_list(folder / "share.json", share)), "sharegpt", COUNT),
        "alpaca": (str(datafiles.table(folder / "alpaca.csv", alpaca)), "alpaca", COUNT),
        "parquet": (str(datafiles.parquet(folder / "alpaca.parquet", alpaca)), "alpaca", COUNT),
        "several": (f"{datafiles.jsonl(folder / 'a.jsonl', share[:6])},{datafiles.table(folder / 'b.csv', alpaca[6:])}",
                    "sharegpt and alpaca", COUNT),
        "skipping": (str(broken), "alpaca", COUNT),
    }  # fmt: skip


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return preloaded.interpreter(tmp_path_factory.mktemp("python") / "python")


def train(output: Path, python: Path, **more: Any) -> RunDir:
    values = {"base_model": SAMPLE / "tiny-qwen2", "output_dir": output, "lora_r": 4, "max_seq_length": 128, "batch_size": 4,
              "gradient_accumulation_steps": 1, "max_steps": 3, "save_steps": 100, "worker_python": python, **more}  # fmt: skip
    words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    result = subprocess.run([sys.executable, "-m", "tui", "train", *words], capture_output=True, text=True, check=False, timeout=300,
                            env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdin=subprocess.DEVNULL)  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return RunDir(output)


def losses(run: RunDir) -> list[float]:
    return [event["loss"] for event in read_events(run) if event["type"] == "step"]


def test_the_same_chats_train_alike_from_every_format(tmp_path: Path, python: Path) -> None:
    found = {}
    for name, (path, shape, rows) in files(tmp_path).items():
        more = {"on_bad_rows": "skip"} if name == "skipping" else {}
        run = train(tmp_path / name, python, train_path=path, **more)
        record = (run.read_run() or {})["data"]["train"]
        assert record["shape"] == shape and record["rows"] == rows + (2 if more else 0), record
        assert record.get("skipped") == ({"broken-json": 1, "missing-field": 1} if more else None)
        assert (run.path / "adapter_model.safetensors").is_file()
        found[name] = losses(run)
    assert len(found["messages"]) == 3 and all(0 < loss < 20 for loss in found["messages"])
    assert found == dict.fromkeys(found, found["messages"])


def test_plain_text_and_tool_calls_train(tmp_path: Path, python: Path) -> None:
    texts = datafiles.jsonl(tmp_path / "texts.jsonl", [{"text": f"{q}\n{a}"} for q, a in pairs()])
    assert all(0 < loss < 20 for loss in losses(train(tmp_path / "text", python, train_path=texts)))
    call = {"name": "look_up", "arguments": {"word": "dog"}}
    rows = [{"tools": json.dumps([{"name": "look_up", "parameters": {"type": "object"}}]), "conversations": [
        {"from": "human", "value": q}, {"from": "function_call", "value": json.dumps(call)}, {"from": "observation", "value": a},
        {"from": "gpt", "value": a}]} for q, a in pairs()]  # fmt: skip
    tools = datafiles.jsonl(tmp_path / "tools.jsonl", rows)
    assert all(
        0 < loss < 20 for loss in losses(train(tmp_path / "tools", python, train_path=tools, max_seq_length=512))
    )

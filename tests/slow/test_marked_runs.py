"""Runs over templates that mark, that can be proven, and that cannot: what is learned, said, recorded and refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import paths
from engine.config import parse
from engine.launchers import launch
from engine.rundir import RunDir
from tests import preloaded
from tests.families import templates as t
from tests.support import ended, read_events, write_rows

pytestmark = pytest.mark.slow
MODEL = paths.sample_data_dir() / "tiny-qwen2"
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + t.CHATML
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(preloaded.interpreter(tmp_path_factory.mktemp("bin") / "python"))


def train(
    folder: Path, python: Path, template: str, rows: list[Any] | int = 8, **more: object
) -> tuple[int, str, RunDir]:
    model = folder / "model"
    shutil.copytree(MODEL, model)
    (model / "chat_template.jinja").write_text(template)
    values = {"base_model": model, "train_path": write_rows(folder / "rows.jsonl", rows), "output_dir": folder / "out", "max_steps": 2,
              "lora_r": 2, "max_seq_length": 64, "gradient_accumulation_steps": 1, "save_steps": 2, "worker_python": python, **more}  # fmt: skip
    flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    result = subprocess.run([sys.executable, "-m", "tui", "train", *flags], capture_output=True, text=True, check=False, timeout=300,
                            stdin=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert "Traceback" not in result.stdout + result.stderr
    return result.returncode, result.stdout + result.stderr, RunDir(folder / "out")


def unlooked(python: Path, run: RunDir) -> str:
    """Why the same run fails that is started without a look at its tokens first."""
    folder = run.path.parent
    values = {
        "base_model": folder / "model",
        "train_path": folder / "rows.jsonl",
        "output_dir": run.path,
        "worker_python": python,
    }
    setting = {"assistant_only_loss": folder.name} if folder.name in ("auto", "true") else {}
    launch(parse({name: str(value) for name, value in {**values, **setting}.items()}))
    return str(ended(run, 120)["reason"])


def notices(run: RunDir) -> str:
    return "\n".join(event["text"] for event in read_events(run) if event["type"] == "notice")


def chosen(run: RunDir) -> dict[str, Any]:
    return dict(json.loads(run.run_json.read_text())["auto"].get("assistant_only_loss", {}))


def weights_were_read(run: RunDir) -> bool:
    phases = [event["name"] for event in read_events(run) if event["type"] == "phase"]
    return "tokenising" in phases and phases[phases.index("tokenising") :].count("loading") > 0


def test_auto_refuses_what_cannot_be_marked_and_false_learns_everything(tmp_path: Path, python: Path) -> None:
    for name, setting in (("auto", "auto"), ("true", "true")):
        (tmp_path / name).mkdir()
        code, said, run = train(tmp_path / name, python, t.COUNTED, assistant_only_loss=setting)
        assert code == 2 and "error: assistant_only_loss: this chat template has no marks" in said
        assert "Set assistant_only_loss to false" in said and not run.path.exists()
        why = unlooked(python, run)
        assert f"failed to start: assistant_only_loss is {setting}, but this chat template has no marks" in why
        assert "set assistant_only_loss to false" in why and not weights_were_read(run)
    (tmp_path / "false").mkdir()
    code, said, run = train(tmp_path / "false", python, t.COUNTED, assistant_only_loss="false")
    assert code == 0, said
    assert "The loss covers the whole text, the user's turns too" in notices(run) and chosen(run) == {}


def test_proven_rows_are_learned_and_others_left_out_with_a_word(tmp_path: Path, python: Path) -> None:
    from tests.families.templates import of_trl

    question, answer = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "good day"}
    rows = [{"messages": [{**question, "content": f"hi {n}"}, answer]} for n in range(4)]
    rows += [{"messages": [question, {**answer, "content": f"good {n}"}, question, answer]} for n in range(3)]
    rows.append({"messages": [{**question, "content": "long " * 200}, answer]})
    rows.append({"messages": [question, {**answer, "content": "long " * 200}]})
    code, said, run = train(tmp_path, python, "{# edited #}" + of_trl("qwen3"), rows)
    assert code == 0, said
    assert chosen(run)["value"] is True and "only the last turn of a chat" in chosen(run)["why"]
    text = notices(run)
    assert "3 of 9 rows hold turns of the assistant that are not learned" in text
    assert (
        "1 of 9 rows are cut off before the text that is learned and were left out: raise max_seq_length (64)" in text
    )
    assert "1 of 9 rows are longer than max_seq_length (64) and are cut there" in text
    assert weights_were_read(run)


def test_rows_that_the_template_refuses_are_named_or_skipped(tmp_path: Path, python: Path) -> None:
    good = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "good day"}]}
    rows = [
        good,
        {"messages": [{"role": "system", "content": "Be brief"}, *good["messages"]]},
        {"messages": [*good["messages"] * 2]},
    ]
    (tmp_path / "refused").mkdir()
    code, said, run = train(tmp_path / "refused", python, NO_SYSTEM, rows)
    assert code == 2 and "rows.jsonl:2: the chat template cannot render it: System role not supported" in said
    assert not run.path.exists()
    assert "rows.jsonl:2: the chat template cannot render it: System role not supported" in unlooked(python, run)
    assert not weights_were_read(run)
    (tmp_path / "skipped").mkdir()
    code, said, run = train(tmp_path / "skipped", python, NO_SYSTEM, rows, on_bad_rows="skip")
    assert code == 0, said
    assert "1 of 3 rows were left out" in notices(run) and "rows.jsonl:2" in notices(run)


def test_tools_that_are_not_written_are_said(tmp_path: Path, python: Path) -> None:
    call = {"function": {"name": "get_weather", "arguments": {}}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "21"}, {"role": "assistant", "content": "warm"}]  # fmt: skip
    code, said, run = train(
        tmp_path, python, t.CHATML, [{"messages": messages}, {"messages": messages[:1] + messages[3:]}]
    )
    assert code == 0, said
    assert "1 of 2 rows hold tools or calls of tools that the chat template does not write" in notices(run)


def test_plain_text_needs_no_template(tmp_path: Path, python: Path) -> None:
    code, said, run = train(tmp_path, python, t.COUNTED, [{"text": f"서울은 {n}. Seoul is a city."} for n in range(6)])
    assert code == 0, said
    assert chosen(run) == {"value": False, "why": "plain text is learned as it stands"}
    assert "whole text" not in notices(run)

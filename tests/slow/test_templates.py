"""A model without a chat template: trained with a named one, saved with it, resumed with it, and refused with another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import paths, templates
from engine.config import parse
from engine.inspecting import Inspector
from engine.preflight.sheet import sheet
from engine.rundir import RunDir
from tests import preloaded
from tests.families import templates as t
from tests.support import read_events, write_rows

pytestmark = pytest.mark.slow
MODEL = paths.sample_data_dir() / "tiny-qwen2"
CHAT = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model without its template, and rows."""
    made = tmp_path_factory.mktemp("templates")
    shutil.copytree(MODEL, made / "model")
    (made / "model" / "chat_template.jinja").unlink()
    write_rows(made / "rows.jsonl", 8)
    (made / "text.jsonl").write_text("".join(json.dumps({"text": f"Once upon a time {n}."}) + "\n" for n in range(8)))
    preloaded.interpreter(made / "python")
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xdg")


def values(folder: Path, name: str, **more: object) -> dict[str, Any]:
    return {"base_model": folder / "model", "train_path": folder / "rows.jsonl", "output_dir": folder / name, "max_steps": 2, "lora_r": 2,
            "max_seq_length": 64, "gradient_accumulation_steps": 1, "save_steps": 2, "worker_python": folder / "python", **more}  # fmt: skip


def tunedeck(home: Path, cwd: Path, *words: object) -> tuple[int, str]:
    result = subprocess.run([sys.executable, "-m", "tui", *map(str, words)], capture_output=True, text=True, check=False, timeout=300,
                            stdin=subprocess.DEVNULL, cwd=cwd, env={
                                **os.environ, "HF_HUB_OFFLINE": "1", "XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home),
                                "PYTHONPATH": str(Path(__file__).parent.parent.parent)})  # fmt: skip
    assert "Traceback" not in result.stdout + result.stderr
    return result.returncode, result.stdout + result.stderr


def flags(given: dict[str, Any]) -> list[str]:
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_without_one_it_is_refused_with_three_to_choose_from(folder: Path, home: Path) -> None:
    code, said = tunedeck(home, folder, "train", *flags(values(folder, "refused")))
    assert code == 2 and "chat_template_path" in said and "qwen2_5" in said and not (folder / "refused").exists()


@pytest.fixture(scope="module")
def trained(folder: Path, home: Path) -> RunDir:
    """A run with a template of a file beside the working directory."""
    (folder / "mine.jinja").write_text(t.CHATML)
    code, said = tunedeck(home, folder, "train", *flags(values(folder, "out", chat_template_path="mine.jinja")))
    assert code == 0, said
    return RunDir(folder / "out")


def test_the_adapter_is_saved_with_the_template(trained: RunDir, folder: Path) -> None:
    record = json.loads(trained.run_json.read_text())
    assert record["config"]["chat_template_path"] == str(folder / "mine.jinja")
    for place in (trained.path, trained.path / "checkpoint-2"):
        assert (place / "chat_template.jinja").read_text().strip() == t.CHATML.strip()
    code = "import sys\nfrom transformers import AutoTokenizer\nmade = AutoTokenizer.from_pretrained(sys.argv[1])\n" \
           f"print(made.apply_chat_template({CHAT!r}, tokenize=False))"  # fmt: skip
    shown = subprocess.run([sys.executable, "-c", code, str(trained.path)], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\nHi<|im_end|>"
    assert {"step"} <= {event["type"] for event in read_events(trained)}


def test_a_resumed_run_keeps_it_and_takes_no_other(trained: RunDir, folder: Path, home: Path) -> None:
    code, said = tunedeck(home, folder, "resume", trained.path, "--max_steps", "4", "--chat_template_path", "zephyr")
    assert code == 2 and "chat_template_path" in said and "checkpoint-2/chat_template.jinja" in said
    # The file is changed after the run: its rows would be others.
    (folder / "mine.jinja").write_text(t.SMOLLM)
    code, said = tunedeck(home, folder, "resume", trained.path, "--max_steps", "4")
    assert code == 2 and "another chat template" in said
    kept = trained.path / "checkpoint-2" / "chat_template.jinja"
    code, said = tunedeck(home, folder, "resume", trained.path, "--max_steps", "4", "--chat_template_path", kept)
    assert code == 0, said
    assert (trained.path / "checkpoint-4" / "chat_template.jinja").read_text().strip() == t.CHATML.strip()
    assert (trained.read_status() or {})["step"] == 4


def test_plain_text_trains_without_any(folder: Path, home: Path) -> None:
    code, said = tunedeck(home, folder, "train", *flags(values(folder, "plain", train_path=folder / "text.jsonl")))
    assert code == 0, said
    assert not (folder / "plain" / "chat_template.jinja").exists()


def test_the_sheet_renders_with_what_the_run_renders_with(folder: Path) -> None:
    inspector = Inspector()
    try:
        given = {name: str(value) for name, value in values(folder, "sheet", max_seq_length=512).items()}
        without = sheet(parse(given), inspector)
        assert (
            [p.kind for p in without.errors] == ["no-template"]
            and without.costs is not None
            and without.lengths is None
        )
        found = {
            name: sheet(parse({**given, "chat_template_path": name}), inspector)
            for name in ("chatml", "smollm2", "alpaca")
        }
        assert [one.errors for one in found.values()] == [[], [], []]
        tokens = {name: one.lengths.tokens for name, one in found.items() if one.lengths is not None}
        assert tokens["chatml"] < tokens["smollm2"] and len(set(tokens.values())) == 3
        bad = sheet(parse({**given, "chat_template_path": "chatlm"}), inspector)
        assert [p.kind for p in bad.errors] == ["bad-template"]
        model = {"base_model": str(folder / "model"), "revision": None, "trust_remote_code": False}
        answer = inspector.ask("open", model={**model, "template": templates.text("chatml")})
        assert answer["problems"] == [] and answer["stop_token_trained"] is True
        (said,) = inspector.ask("open", model=model)["problems"]
        assert said["kind"] == "no-template" and said["hint"] == "Set chat_template_path to qwen2_5, chatml or smollm2"
    finally:
        inspector.close()

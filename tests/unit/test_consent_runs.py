"""A real model with code that leaves a mark where it runs: it runs with consent, and nowhere without it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config import RunConfig, parse
from engine.errors import InputError
from engine.inspecting import InspectError, Inspector, model_fields
from engine.launchers import launch
from engine.launchers.local import start_supervisor
from engine.models.consent import agree, agreed, code_of
from engine.preflight import check
from engine.preflight.sheet import sheet
from engine.rundir import write_json
from tests.support import ended, write_rows

pytestmark = pytest.mark.slow

TINY = Path(__file__).parent.parent.parent / "sample_data" / "tiny-qwen2"
CONFIGURATION = """from transformers import Qwen2Config
open({mark!r}, "a").write("configuration\\n")
class OwnConfig(Qwen2Config):
    model_type = "owntiny"
"""
MODELING = """from transformers import Qwen2ForCausalLM
from .configuration_own import OwnConfig
open({mark!r}, "a").write("modeling\\n")
class OwnForCausalLM(Qwen2ForCausalLM):
    config_class = OwnConfig
"""
TOKENIZER = """from transformers import PreTrainedTokenizerFast
open({mark!r}, "a").write("tokenizer\\n")
class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "it-ran"


@pytest.fixture
def given(tmp_path: Path, mark: Path) -> dict[str, Any]:
    folder = tmp_path / "own"
    shutil.copytree(TINY, folder)
    config = json.loads((folder / "config.json").read_text())
    auto_map = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    config.update(model_type="owntiny", architectures=["OwnForCausalLM"], auto_map=auto_map)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer.update(
        tokenizer_class="OwnTokenizer", auto_map={"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]}
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    for name, text in (("configuration", CONFIGURATION), ("modeling", MODELING), ("tokenization", TOKENIZER)):
        (folder / f"{name}_own.py").write_text(text.format(mark=str(mark)))
    return {"base_model": str(folder), "train_path": str(write_rows(tmp_path / "t.jsonl", 8)), "output_dir": str(tmp_path / "out"),
            "trust_remote_code": True, "max_steps": 2, "max_seq_length": 64, "queue": False}  # fmt: skip


@pytest.fixture
def inspector() -> Iterator[Inspector]:
    found = Inspector()
    yield found
    found.close()


def config_of(given: dict[str, Any], **more: Any) -> RunConfig:
    return parse({**given, **more})


def test_nothing_runs_without_consent(given: dict[str, Any], mark: Path, inspector: Inspector) -> None:
    for trust in (True, False):
        config = config_of(given, trust_remote_code=trust)
        found = sheet(config, inspector, sample=True)
        assert not found.ok and {"needs-consent" if trust else "needs-code"} <= {one.kind for one in found.errors}
        for what, fields in (("open", {"model": model_fields(config)}),
                             ("costs", {"settings": config.model_dump(), "machine": {"cuda": False}})):  # fmt: skip
            with pytest.raises(InspectError) as raised:
                inspector.ask(what, 120, **fields)
            assert not trust or raised.value.kind == "needs-consent"
        with pytest.raises(InputError):
            launch(config)
    assert not mark.exists()


def test_it_runs_with_consent_and_not_when_a_byte_was_changed_since(
    given: dict[str, Any], mark: Path, inspector: Inspector
) -> None:
    config = config_of(given)
    code = code_of(config.base_model)
    assert code is not None and len(code.files) == 3
    agree(code)
    found = sheet(config, inspector, sample=True)
    assert found.ok, found.errors
    assert found.costs is not None and found.lengths is not None and found.lengths.usable == 8
    assert {"configuration", "modeling", "tokenizer"} <= set(mark.read_text().split())
    mark.unlink()
    run = launch(config)
    status = ended(run, 180)
    assert status["state"] == "completed", (status, run.train_log.read_text()[-3000:])
    assert {"configuration", "modeling", "tokenizer"} <= set(mark.read_text().split())
    record = run.read_run() or {}
    assert record["code"] == code.record() and record["config"]["trust_remote_code"] is True
    mark.unlink()
    with (Path(config.base_model) / "modeling_own.py").open("a") as file:
        file.write("#")
    assert [one.kind for one in check(config_of(given, output_dir=given["output_dir"] + "2")).errors] == [
        "needs-consent"
    ]
    with pytest.raises(InspectError) as raised:
        inspector.ask("open", 120, model=model_fields(config))
    assert raised.value.kind == "needs-consent"
    # Somebody who changes the code after the launch, before the worker loads it.
    shutil.rmtree(run.path)
    again = start_anyway(config, record)
    status = ended(again, 180)
    assert status["state"] == "failed" and "not the code that was agreed to" in status["reason"]
    assert not mark.exists() and not agreed(code_of(config.base_model))  # type: ignore[arg-type]


def test_an_edited_copy_of_a_hub_models_code_never_runs_and_a_silent_hub_is_not_asked(
    given: dict[str, Any], mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers keeps copies of code by commit, and takes them without a look at the model's files."""
    from engine.models import cache

    commit = "d" * 40
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    place = cache.repository("org/own")
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    shutil.move(given["base_model"], place / "snapshots" / commit)
    copies = tmp_path / "hf" / "modules" / "transformers_modules" / "org" / "own" / commit
    copies.mkdir(parents=True)
    for name in ("configuration", "modeling", "tokenization"):
        text = (place / "snapshots" / commit / f"{name}_own.py").read_text()
        (copies / f"{name}_own.py").write_text(text + f"open({str(tmp_path / 'edited')!r}, 'w')\n")
    config = config_of(given, base_model="org/own")
    code = code_of("org/own")
    assert code is not None
    agree(code)
    inspector = Inspector()
    try:
        assert sheet(config, inspector, sample=True).ok
    finally:
        inspector.close()
    begun = time.monotonic()
    run = launch(config)
    status = ended(run, 180)
    assert status["state"] == "completed", (status, run.train_log.read_text()[-3000:])
    assert time.monotonic() - begun < 50 and (run.read_run() or {})["config"]["revision"] == commit
    assert {"configuration", "modeling", "tokenizer"} <= set(mark.read_text().split())
    assert not (tmp_path / "edited").exists()


def start_anyway(config: RunConfig, record: dict[str, Any]) -> Any:
    """A run whose record was written before the change."""
    from engine.launchers.local import attempt_record
    from engine.rundir import RunDir

    run = RunDir(config.output_dir)
    run.make("private")
    write_json(run.run_json, {**record, "attempts": [attempt_record(1, "")]})
    start_supervisor(run)
    return run

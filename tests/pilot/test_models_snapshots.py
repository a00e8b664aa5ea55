"""The model picker as pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import hardware
from engine.hardware import Gpu
from engine.models import catalogue, hub
from engine.models.catalogue import Model
from engine.models.hub import HubAnswer
from engine.templates import reading
from tests.costing import install
from tests.pictures import compare
from tests.pilot.modelfiles import model_dir
from tests.pilot.test_models import picker
from tests.pilot.test_snapshots import NOW, place
from tests.support import until
from tui.app import TunedeckApp
from tui.models.consenting import ConsentScreen

__all__ = ["place"]  # a fixture
SIZES = [(80, 24), (120, 40), (160, 50)]
GIB = 2**30


def entry(name: str, count: float, dtype: str, template: str, licence: str, age: float, **more: Any) -> Model:
    size = int(count * (0.55 if dtype == "4 bit" else 2))
    given: dict[str, Any] = {"revision": None, "source": "hub cache", "path": Path("/data/hf/hub") / name, "commit": "ab12" * 10,
                             "parameters": None if dtype == "4 bit" else int(count), "architecture": "Qwen2ForCausalLM",
                             "model_type": "qwen2", **more}  # fmt: skip
    return Model(name, bytes=size, dtype=dtype, template=template, licence=licence, used=NOW - age, **given)


MODELS = [
    entry("Qwen/Qwen2.5-7B-Instruct", 7.615e9, "bfloat16", "chatml", "apache-2.0", 7200),
    entry("Qwen/Qwen2.5-0.5B-Instruct", 0.494e9, "bfloat16", "chatml", "apache-2.0", 300),
    entry("meta-llama/Llama-3.1-8B-Instruct", 8.03e9, "bfloat16", "llama3", "llama3.1", 90_000, architecture="LlamaForCausalLM",
          model_type="llama"),
    entry("meta-llama/Llama-3.1-8B-Instruct", 8.03e9, "bfloat16", "llama3", "llama3.1", 4_000_000, revision="cd34" * 10,
          architecture="LlamaForCausalLM", model_type="llama"),
    entry("unsloth/gemma-2-9b-it-bnb-4bit", 9.2e9, "4 bit", "gemma", "gemma", 500_000, architecture="Gemma2ForCausalLM"),
    entry("EleutherAI/pythia-160m", 0.162e9, "float16", "", "apache-2.0", 1_000_000, architecture="GPTNeoXForCausalLM"),
    entry("/data/models/회사-한국어-모델-7B", 7.6e9, "bfloat16", "own", "", 20_000, source="directory",
          path=Path("/data/models/회사-한국어-모델-7B"), commit=None),
    entry("Qwen/Qwen2.5-72B-Instruct", 72.7e9, "bfloat16", "chatml", "qwen", 60_000, trouble="weights are incomplete: 11 of 37 files"),
    entry("BAAI/bge-small-en-v1.5", 0.033e9, "float32", "", "mit", 100, trouble="no causal language model (BertModel)",
          architecture="BertModel", model_type="bert"),
]  # fmt: skip


@pytest.fixture
def app(place: Path, monkeypatch: pytest.MonkeyPatch) -> TunedeckApp:
    """Models and a card that are always the same, and a hub that knows two."""
    monkeypatch.setenv("HF_HOME", "/data/hf")
    monkeypatch.setattr(catalogue, "scan", lambda places=(), cancelled=None: iter(MODELS))
    monkeypatch.setattr(reading, "has_tokenizer", lambda folder: True)
    monkeypatch.setattr(catalogue, "places", lambda extra=(): [Path("/data/models"), place])
    monkeypatch.setattr(hardware, "gpus", lambda: [Gpu(3, "NVIDIA H200", 50 * GIB, 140 * GIB)])
    answer = HubAnswer("ok", commit="ef56" * 10, bytes=int(16.1 * GIB), parameters=8_030_261_248, dtype="bfloat16", licence="mit",
                       architecture="OwnForCausalLM", template=True, code=True, needs_code=True)  # fmt: skip
    refusal = HubAnswer("gated", "org/gated is gated, and this machine has no token that may read it",
                        "Accept its licence at https://huggingface.co/org/gated, then run: hf auth login")  # fmt: skip
    monkeypatch.setattr(hub, "ask", lambda name, revision=None, **_: answer if name == "org/own-8B" else refusal)
    install(monkeypatch)
    return TunedeckApp(initial="launch", values={"train_path": "none.jsonl"}, theme_name="dark")


@pytest.mark.parametrize("size", SIZES)
async def test_pictures(size: tuple[int, int], app: TunedeckApp, request: pytest.FixtureRequest) -> None:
    update = request.config.getoption("--update-snapshots")

    def look(name: str) -> None:
        compare(app, f"models-{name}-{size[0]}x{size[1]}", update=update)

    async with app.run_test(size=size) as pilot:
        screen = await picker(app, pilot)
        await until(pilot, lambda: screen.seen.gpu is not None)
        await pilot.press("down")
        await pilot.pause(0.3)
        look("list")
        await pilot.press("end", *["down"] * 7)
        await pilot.pause(0.3)
        look("trouble")
        await pilot.press(*"org", "slash", *"own", "minus", *"8B", "enter")
        await until(pilot, lambda: screen.seen.answers)
        await pilot.pause(0.3)
        look("answer")
        await pilot.press("escape", *"org", "slash", *"gated", "enter")
        await until(pilot, lambda: len(screen.seen.answers) == 2)
        await pilot.pause(0.3)
        look("gated")
        await pilot.press("escape", *"nothing", "space", *"there")
        await pilot.pause(0.3)
        look("none")


@pytest.mark.parametrize("size", SIZES[:2])
async def test_consent(size: tuple[int, int], app: TunedeckApp, place: Path, request: pytest.FixtureRequest,
                       monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    own = model_dir(place / "own-model", code=True)
    for number in range(14):
        (own / f"helper_{number:02}.py").write_text(f"# {'x' * number * 97}\n")
    real = catalogue.look(str(own))
    assert real is not None
    monkeypatch.setattr(catalogue, "scan", lambda places=(), cancelled=None: iter([real]))
    monkeypatch.setattr(time, "time", lambda: NOW)
    async with app.run_test(size=size) as pilot:
        await picker(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConsentScreen))
        await pilot.press(*"yes", "enter")
        await pilot.pause(0.3)
        compare(app, f"models-consent-{size[0]}x{size[1]}", update=request.config.getoption("--update-snapshots"))

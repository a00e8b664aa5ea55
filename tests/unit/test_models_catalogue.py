"""What is said of models before they are loaded, and that nothing in their folders can hurt who looks."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from engine.models import Model, cache, known, look, places, scan
from engine.models.reading import licence_of
from tests.support import make_run

QWEN = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}


def tensors(path: Path, dtypes: dict[str, tuple[str, list[int]]]) -> Path:
    """A safetensors file with zeros for every tensor."""
    widths = {"F32": 4, "BF16": 2, "F16": 2, "U8": 1, "F8_E4M3": 1, "I32": 4}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in dtypes.items():
        size = widths[dtype]
        for length in shape:
            size *= length
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    body = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(body)) + body + bytes(end))
    return path


def model(folder: Path, config: dict[str, Any] | None = None, weights: bool = True) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**QWEN, **(config or {})}))
    if weights:
        tensors(
            folder / "model.safetensors", {"model.norm.weight": ("F32", [4]), "model.embed.weight": ("BF16", [10, 100])}
        )
    return folder


def cached(name: str, commit: str, main: bool = True) -> Path:
    """An empty snapshot of the hub cache."""
    place = cache.repository(name)
    (place / "blobs").mkdir(parents=True, exist_ok=True)
    (place / "refs").mkdir(exist_ok=True)
    if main:
        (place / "refs" / "main").write_text(commit)
    folder = place / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


def names(found: list[Model]) -> list[str]:
    return [Path(one.name).name for one in found]


def test_a_directory_tells_its_size_kind_template_and_licence(tmp_path: Path) -> None:
    folder = model(tmp_path / "one")
    (folder / "chat_template.jinja").write_text(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\nlicense: none\n")
    found = look(str(folder))
    assert found is not None
    assert (found.parameters, found.dtype, found.source, found.trouble) == (1004, "bfloat16", "directory", "")
    assert (found.architecture, found.model_type, found.licence) == ("Qwen2ForCausalLM", "qwen2", "apache-2.0")
    assert found.bytes == (folder / "model.safetensors").stat().st_size and found.template == "chatml"
    assert not found.code and not found.needs_code and found.commit is found.revision is None and found.used is not None


@pytest.mark.parametrize(("card", "licence"), [
    ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "qwen-research"), ("---\nlicense:\n- mit\n- gpl\n---\n", "mit, gpl"),
    ("---\nlicense: \"llama3\"\n", "llama3"), ("no front matter\nlicense: mit", ""), ("---\nlicense: [\n---\n", ""),
    ("---\nlicense: !!python/object/apply:os.system [ls]\n---\n", ""), ("---\nlicense: {a: 1}\n---", ""), ("", ""),
    ("---\ntags:\n- license: mit\n---", ""),
])  # fmt: skip
def test_the_licence_of_a_card(card: str, licence: str) -> None:
    assert licence_of(card) == licence


@pytest.mark.parametrize(("config", "trouble"), [
    ({"model_type": "bert", "architectures": ["BertModel"]}, "no causal language model (BertModel)"),
    ({"model_type": "qwen2_vl", "architectures": ["Qwen2VLForConditionalGeneration"]}, "a model of images and text (Qwen2VLForConditionalGeneration)"),
    ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "an encoder-decoder model (T5ForConditionalGeneration)"),
    ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "a classifier or reward model (LlamaForSequenceClassification)"),
    ({"model_type": "never_heard_of", "architectures": ["NeverForCausalLM"]}, "the installed transformers does not know the model type never_heard_of"),
    ({"quantization_config": {"quant_method": "mxfp4"}}, "quantised with mxfp4, which cannot be trained"),
    ({"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"]}, ""),
    ({"model_type": "vit", "architectures": ["ViTForCausalLM"]}, "no causal language model (ViTForCausalLM)"),
    ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, ""), ({"architectures": None}, ""), ({"architectures": []}, ""),
    ({"model_type": "vit", "architectures": []}, "no causal language model (vit)"),
])  # fmt: skip
def test_what_cannot_be_tuned_is_said_in_words(tmp_path: Path, config: dict[str, Any], trouble: str) -> None:
    found = look(str(model(tmp_path / "m", config)))
    assert found is not None and found.trouble == trouble


@pytest.mark.parametrize(("quantised", "dtype"), [
    ({"load_in_4bit": True, "quant_method": "bitsandbytes"}, "4 bit"), ({"load_in_8bit": True}, "8 bit"),
    ({"quant_method": "gptq", "bits": 4}, "4 bit"), ({"quant_method": "awq", "bits": 4}, "4 bit"), ({"quant_method": "fp8"}, "fp8"),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}}}, "fp8"),
    ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "int"}}}}, "4 bit"),
    ({"quant_method": "hqq"}, "quantised"),
])  # fmt: skip
def test_quantised_weights_name_their_bits_and_no_count(tmp_path: Path, quantised: dict[str, Any], dtype: str) -> None:
    found = look(str(model(tmp_path / "m", {"quantization_config": quantised})))
    assert found is not None and found.dtype == dtype and found.parameters is None


def test_the_number_format_is_that_of_most_bytes(tmp_path: Path) -> None:
    folder = model(tmp_path / "m")
    tensors(
        folder / "model.safetensors", {"a": ("F32", [100]), "b": ("BF16", [150]), "x.rotary_emb.inv_freq": ("F32", [5])}
    )
    found = look(str(folder))
    assert found is not None and found.dtype == "mixed" and found.parameters == 250
    tensors(folder / "model.safetensors", {"a": ("F8_E4M3", [1000]), "s": ("F32", [10])})
    found = look(str(folder))
    assert found is not None and found.dtype == "fp8" and found.parameters is None


def shards(folder: Path, count: int) -> None:
    each = {f"t{n}": f"model-{n}.safetensors" for n in range(count)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": each}))
    for name, file in each.items():
        tensors(folder / file, {name: ("BF16", [7])})


def test_weights_that_are_not_whole(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", weights=False)
    shards(folder, 4)
    found = look(str(folder))
    assert found is not None and found.parameters == 28 and not found.trouble
    (folder / "model-1.safetensors").unlink()
    (folder / "model-2.safetensors").unlink()
    (folder / "model-2.safetensors").symlink_to("../nowhere")
    found = look(str(folder))
    assert found is not None and found.trouble == "weights are incomplete: 2 of 4 files" and found.parameters is None
    shards(folder, 1)
    (folder / "model-0.safetensors").write_bytes((folder / "model-0.safetensors").read_bytes()[:-1])
    found = look(str(folder))
    assert found is not None and found.trouble == "weights are damaged or cut short"


@pytest.mark.parametrize(("file", "trouble"), [
    ("pytorch_model.bin", "weights only as pickle"), ("model.Q4.gguf", "GGUF only"), ("consolidated.safetensors", "weights are in another layout (consolidated.safetensors)"),
    ("training_args.bin", "no weights"),
])  # fmt: skip
def test_weights_that_are_not_read(tmp_path: Path, file: str, trouble: str) -> None:
    folder = model(tmp_path / "m", weights=False)
    (folder / file).write_bytes(b"x" * 50)
    found = look(str(folder))
    assert found is not None and found.trouble == trouble


def test_the_hub_cache_is_listed_with_every_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    old, new = "a" * 40, "b" * 40
    for commit, main in ((old, False), (new, True)):
        folder = cached("org/name", commit, main)
        (folder / "config.json").write_text(json.dumps(QWEN))
        blob = tensors(cache.repository("org/name") / "blobs" / commit, {"x": ("BF16", [3])})
        (folder / "model.safetensors").symlink_to(blob)
    (cached("org/torn", "c" * 40) / "config.json").write_text(json.dumps(QWEN))
    (cache.folder_of_cache() / "models--..--..--etc").mkdir()
    (cache.folder_of_cache() / "datasets--a--b").mkdir()
    found = list(scan())
    assert [(one.name, one.revision, one.commit) for one in found] == [
        ("org/name", None, new), ("org/name", old, old), ("org/torn", None, "c" * 40)]  # fmt: skip
    assert found[0].source == "hub cache" and found[0].parameters == 3 and found[2].trouble == "no weights"
    assert look("org/name") == found[0] and look("org/name", old) == found[1] and look("org/name", "other") is None
    assert look("org/name", "../../../../etc") is None and look("../../etc/passwd") is None and look("a\0b") is None
    assert [one.name for one in scan([cache.folder_of_cache(), tmp_path])] == ["org/name", "org/name", "org/torn"]


def test_directories_are_found_once_and_runs_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    model(tmp_path / "m" / "org" / "deep")
    model(tmp_path / "m" / "checkpoint-500")
    model(tmp_path / "m" / "a" / "b" / "c" / "too-deep")
    model(tmp_path / "m" / ".hidden" / "one")
    model(tmp_path / "m" / "top" / "below")
    (tmp_path / "m" / "top" / "config.json").write_text(json.dumps(QWEN))
    (tmp_path / "m" / "node").mkdir()
    (tmp_path / "m" / "node" / "config.json").write_text('{"port": 80}')
    (tmp_path / "m" / "unet").mkdir()
    (tmp_path / "m" / "unet" / "config.json").write_text('{"_class_name": "UNet", "model_type": "x"}')
    (tmp_path / "m" / "link").symlink_to(tmp_path / "m" / "org" / "deep")
    (tmp_path / "m" / "loop").symlink_to(tmp_path / "m")
    adapter = tmp_path / "m" / "run"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    found = list(scan([tmp_path / "m", tmp_path / "m" / "org"]))
    assert sorted(names(found)) == ["link", "run", "top"] or sorted(names(found)) == ["deep", "run", "top"]
    assert next(one for one in found if one.name.endswith("run")).trouble == "an adapter"


def test_nothing_hostile_stops_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    root = tmp_path / "m"
    for number, (name, content) in enumerate({
        "deep": "[" * 200_000, "deeper": '{"a":' * 50_000, "torn": '{"model_type": "qwen2"', "text": "hello", "list": "[]",
        "types": '{"model_type": [1], "architectures": "x", "quantization_config": 7, "auto_map": [3, null]}', "nan": '{"model_type": "qwen2", "x": NaN}',
    }.items()):  # fmt: skip
        folder = model(root / f"{number}{name}")
        (folder / "config.json").write_text(content)
    pipes = root / "pipes"
    pipes.mkdir(parents=True)
    for name in ("config.json", "README.md", "model.safetensors", "chat_template.jinja", "tokenizer_config.json"):
        os.mkfifo(pipes / name)
    half = model(root / "half")
    for name in ("README.md", "chat_template.jinja", "tokenizer_config.json", "generation_config.json"):
        os.mkfifo(half / name)
    evil = model(root / "\x1b[31mevil\n")
    (evil / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")
    index = model(root / "index", weights=False)
    (index / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../../etc/passwd", "b": 3}}')
    shape = model(root / "shape")
    body = b'{"a": {"dtype": "BF16", "shape": ["x"], "data_offsets": [0, 2]}}'
    (shape / "model.safetensors").write_bytes(struct.pack("<Q", len(body)) + body + b"00")
    found = {Path(one.name).name: one for one in scan([root])}
    assert (
        found["\x1b[31mevil\n"].trouble
        == found["index"].trouble
        == found["shape"].trouble
        == "weights are damaged or cut short"
    )
    assert found["half"].trouble == "" and found["half"].template == "" and found["6nan"].trouble == ""
    assert found["pipes"].trouble == "config.json is damaged" and found["0deep"].trouble == "config.json is damaged"


def test_thousands_of_folders_are_searched_in_time_and_the_search_can_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for number in range(3000):
        (tmp_path / "m" / f"{number:04}").mkdir(parents=True)
    model(tmp_path / "m" / "0100" / "one")
    model(tmp_path / "m" / "0200" / "two")
    begun = time.monotonic()
    assert names(list(scan([tmp_path / "m"]))) == ["one", "two"]
    assert time.monotonic() - begun < 5
    cancelled = threading.Event()
    found = scan([tmp_path / "m"], cancelled)
    assert next(found).name.endswith("one")
    cancelled.set()
    assert list(found) == []


def test_places_are_the_folder_one_is_in_and_those_of_earlier_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import registry

    (tmp_path / "here" / "models").mkdir(parents=True)
    model(tmp_path / "shelf" / "one")
    run = make_run(tmp_path / "run", base_model=str(tmp_path / "shelf" / "one"))
    registry.remember_run((run.read_run() or {})["id"], run.path)
    monkeypatch.chdir(tmp_path / "here")
    extra = tmp_path / "gone"
    assert places([extra]) == [tmp_path / "here", tmp_path / "here" / "models", tmp_path / "shelf"]
    monkeypatch.chdir("/")
    assert Path("/") not in places()


def test_the_cache_is_where_the_hubs_library_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import subprocess
    import sys

    for env in ({}, {"HF_HOME": "~/x"}, {"HF_HUB_CACHE": "/a/b"}, {"HUGGINGFACE_HUB_CACHE": "/c"}, {"XDG_CACHE_HOME": "/d"},
                {"HF_HOME": "$HOME/y", "HF_TOKEN_PATH": "/t/o"}, {"HF_HUB_OFFLINE": "on"}, {"TRANSFORMERS_OFFLINE": "1"}):  # fmt: skip
        env = {"HOME": str(tmp_path), **env}
        code = "from huggingface_hub import constants as c; print(c.HF_HOME, c.HF_HUB_CACHE, c.HF_TOKEN_PATH, c.HF_HUB_OFFLINE)"
        told = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        ).stdout.split()
        for name in (
            "HF_HOME",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "XDG_CACHE_HOME",
            "HF_TOKEN_PATH",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
        ):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        assert [str(cache.home()), str(cache.folder_of_cache()), str(cache.token_file()), str(cache.offline())] == told


@pytest.mark.slow
def test_what_transformers_knows_is_what_it_says_itself() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    found = known.known()
    assert found is not None
    assert found.types == set(CONFIG_MAPPING_NAMES) and dict(found.causal) == dict(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert {name for name, value in TOKENIZER_MAPPING_NAMES.items() if value} <= {
        n for n, v in found.tokenizers.items() if v
    }

"""Models whose files are damaged, of another kind or meant for something else: refused by name, and unusual ones are not."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import paths, tensorfiles
from engine.config import parse
from engine.modelfiles import check_model_directory, check_template
from engine.models import quantised
from engine.models.checking import check_directory

SAMPLE = paths.sample_data_dir() / "tiny-qwen2"
NORM = "model.norm.weight"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLE, tmp_path / "model"))


def header_of(file: Path) -> tuple[dict[str, Any], bytes]:
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def write(file: Path, header: dict[str, Any] | bytes, body: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + body)


def edited(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def problems(model: Path, **settings: Any) -> list[Any]:
    config = parse({"base_model": str(model), "train_path": "rows.jsonl", "output_dir": "out", **settings})
    return check_directory(config)[0]


def first(record: dict[str, Any], **more: Any) -> None:
    record[NORM].update(more)


HEADERS: list[tuple[str, Callable[[dict[str, Any]], Any], str]] = [
    ("overlap", lambda h: first(h, data_offsets=[0, 384]), "overlaps another tensor"),
    ("a gap", lambda h: h.pop("model.layers.0.input_layernorm.weight") and None, "has a gap before it"),
    ("negative", lambda h: first(h, data_offsets=[-384, 0]), f"the place of {NORM}"),
    ("reversed", lambda h: first(h, data_offsets=h[NORM]["data_offsets"][::-1]), "not the bytes that its shape needs"),
    ("words", lambda h: first(h, data_offsets=["0", "384"]), f"the place of {NORM}"),
    ("three places", lambda h: first(h, data_offsets=[0, 1, 2]), f"the place of {NORM}"),
    ("another width", lambda h: first(h, dtype="F32"), "not the bytes that its shape needs"),
    ("another shape", lambda h: first(h, shape=[96]), "not the bytes that its shape needs"),
    ("an unknown kind", lambda h: first(h, dtype="X9"), "does not know (X9)"),
    ("a number as kind", lambda h: first(h, dtype=9), "does not know (9)"),
    ("a fraction", lambda h: first(h, shape=[192.0]), f"the shape of {NORM}"),
    ("a negative shape", lambda h: first(h, shape=[-1, -192]), f"the shape of {NORM}"),
    ("true as a size", lambda h: first(h, shape=[True, 192]), f"the shape of {NORM}"),
    ("a list", lambda h: h.update({NORM: [1]}), f"says nothing of {NORM}"),
    ("numbers about itself", lambda h: h.update(__metadata__={"a": 1}), "is not text"),
    ("a header of bytes", lambda h: json.dumps(h).encode() + b"x", "damaged or cut short"),
    ("a mark of bytes", lambda h: b"\xef\xbb\xbf" + json.dumps(h).encode(), "damaged or cut short"),
    ("a deep header", lambda h: b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "damaged or cut short"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "says"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_headers_that_lie(model: Path, change: Callable[[dict[str, Any]], Any], says: str) -> None:
    """What safetensors itself would refuse when a run loads the weights."""
    file = model / "model.safetensors"
    header, body = header_of(file)
    made = change(header)
    write(file, made if isinstance(made, bytes) else header, body)
    found = problems(model)
    assert [(p.kind, p.setting, p.file) for p in found] == [("bad-model", "base_model", str(file))]
    assert says in found[0].message and found[0].hint


def test_headers_that_are_only_unusual(tmp_path: Path) -> None:
    """Numbers of half a byte, nothing at all, a single number, keys that are not known."""
    file = tmp_path / "x.safetensors"
    entries: dict[str, Any] = {
        "none": {"dtype": "F32", "shape": [0, 5], "data_offsets": [0, 0]},
        "one": {"dtype": "F32", "shape": [], "data_offsets": [0, 4], "more": 1},
        "half": {"dtype": "F4", "shape": [2, 2], "data_offsets": [4, 6]},
        "__metadata__": {"format": "pt"},
    }
    write(file, json.dumps(entries).encode() + b"   ", b"123456")
    found, why = tensorfiles.tensors(file)
    assert found is not None and set(found) == {"none", "one", "half"} and not why


def sharded(model: Path, weight_map: dict[str, Any], **more: Any) -> Path:
    (model / "model.safetensors").rename(model / "part-1.safetensors")
    index = model / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map, **more}))
    return index


def whole_map(model: Path) -> dict[str, Any]:
    return {
        name: "part-1.safetensors" for name in header_of(model / "model.safetensors")[0] if not name.startswith("__")
    }


@pytest.mark.parametrize("place", ["../part-1.safetensors", "/etc/passwd", 5, None, ["part-1.safetensors"], ""])
def test_an_index_that_leads_out_of_the_folder(model: Path, place: Any) -> None:
    index = sharded(model, {NORM: place})
    found = problems(model)
    assert found[0].file == str(index) and f"says that {NORM} lies in" in found[0].message


def test_an_index_of_tensors_that_its_files_lack(model: Path) -> None:
    sharded(model, {**whole_map(model), "model.nope.weight": "part-1.safetensors"})
    found = problems(model)
    assert found[0].file == str(model / "part-1.safetensors") and "lacks model.nope.weight" in found[0].message


@pytest.mark.parametrize("metadata", [None, [], "x"])
def test_an_index_without_the_metadata_that_is_read(model: Path, metadata: Any) -> None:
    index = sharded(model, whole_map(model), metadata=metadata)
    assert [(p.file, "lacks metadata" in p.message) for p in problems(model)] == [(str(index), True)]


def test_an_index_as_it_should_be(model: Path) -> None:
    sharded(model, whole_map(model))
    assert problems(model) == []


QUANTISED: list[tuple[Any, str]] = [
    ({"quant_method": "no-such"}, "no-such, which the installed transformers does not know"),
    ({"quant_method": 4}, "quantised with 4"),
    ({"bits": 4}, "does not say by which method"),
    ({}, "does not say by which method"),
    ("awq", "does not say by which method"),
    ([1], "does not say by which method"),
    ({"quant_method": "spqr"}, "spqr, which cannot be trained"),
    ({"quant_method": "NVFP4"}, "nvfp4, which cannot be trained"),
    ({"quant_method": "bitnet"}, "bitnet, which cannot be trained"),
    ({"quant_method": "mxfp4"}, "mxfp4, which cannot be trained"),
]
PACKAGES = {"awq": "gptqmodel", "gptq": "optimum", "hqq": "hqq", "compressed-tensors": "compressed_tensors", "aqlm": "aqlm",
            "quanto": "optimum.quanto", "torchao": "torchao", "eetq": "kernels"}  # fmt: skip


@pytest.mark.parametrize(("given", "says"), QUANTISED)
def test_quantised_weights_that_nothing_can_be_made_of(model: Path, given: Any, says: str) -> None:
    edited(model / "config.json", quantization_config=given)
    found = problems(model)
    assert [p.file for p in found] == [str(model / "config.json")] and says in found[0].message and found[0].hint


@pytest.mark.parametrize("method", PACKAGES)
def test_quantised_weights_whose_package_is_not_here(model: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantised, "there", lambda module: False)
    edited(model / "config.json", quantization_config={"quant_method": method, "bits": 4})
    found = problems(model)
    assert PACKAGES[method] in found[0].message and found[0].hint.startswith("pip install ")
    assert found[0].file == str(model / "config.json")
    monkeypatch.setattr(quantised, "there", lambda module: True)
    assert problems(model) == []
    assert [(p.kind, p.setting) for p in problems(model, load_in_4bit=True)] == [("contradiction", "load_in_4bit")]


def test_weights_that_bitsandbytes_quantised_need_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ({"load_in_4bit": True}, {"quant_method": "bitsandbytes", "load_in_8bit": True}):
        edited(model / "config.json", quantization_config=given)
        monkeypatch.setattr(quantised, "there", lambda module: False)
        assert "bitsandbytes" in problems(model)[0].message
        monkeypatch.setattr(quantised, "there", lambda module: True)
        assert problems(model, load_in_4bit=True) == []
    edited(model / "config.json", quantization_config=None)
    assert problems(model) == []


FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
BROKEN: list[tuple[str, bytes, str, int]] = [
    ("cut", b'{\n "a":', "broken JSON", 2),
    ("empty", b"", "broken JSON", 1),
    ("list", b"[]", "no JSON object", 1),
    ("word", b'"x"', "no JSON object", 1),
    ("Latin 1", b'{\n\n "a": "\xe9"}', "not UTF-8", 3),
    ("mark", b"\xef\xbb\xbf{}", "broken JSON", 1),
    ("deep", b'{"a":' * 30_000 + b"1" + b"}" * 30_000, "too deeply", 1),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("content", "says", "line"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_files_that_are_no_json(model: Path, name: str, content: bytes, says: str, line: int) -> None:
    (model / name).write_bytes(content)
    found = next(p for p in problems(model) if p.file == str(model / name))
    assert found.line == line and f"{name} is damaged" in found.message and says in found.message


def test_a_tokenizer_that_is_no_json_names_its_line(model: Path) -> None:
    (model / "tokenizer.json").write_bytes(b'{\n\n"model":')
    assert [(p.file, p.line) for p in problems(model)] == [(str(model / "tokenizer.json"), 3)]
    (model / "tokenizer.json").write_bytes(b"[]")
    assert "no JSON object" in problems(model)[0].message


@pytest.mark.parametrize("content", ['{"peft_type": "LORA", "base_model_name_or_path": "x"}', "{"])
def test_an_adapter_beside_a_whole_model(model: Path, content: str) -> None:
    """transformers would load the model that the adapter names in place of this one, without a word."""
    (model / "adapter_config.json").write_text(content)
    found = problems(model)
    assert found[0].file == str(model / "adapter_config.json") and "beside a whole model" in found[0].message


def test_a_rank_beyond_the_smallest_layer(model: Path) -> None:
    _, warned = check_model_directory(model, ["q_proj", "k_proj"], 65)
    assert [(p.kind, p.setting) for p in warned] == [("rank-beyond-layer", "lora_r")] and "64" in warned[0].message
    assert check_model_directory(model, ["q_proj", "k_proj"], 64) == ([], [])
    assert check_model_directory(model, ["q_proj"], 192) == ([], [])


def test_layers_named_in_full_and_heads_of_another_name(model: Path) -> None:
    assert check_model_directory(model, ["model.layers.0.self_attn.q_proj"], 8) == ([], [])
    header, body = header_of(model / "model.safetensors")
    header["embed_out.weight"] = {"dtype": "BF16", "shape": [1], "data_offsets": [len(body), len(body) + 2]}
    write(model / "model.safetensors", header, body + b"\0\0")
    edited(model / "config.json", tie_word_embeddings=False)
    assert check_model_directory(model, ["q_proj", "lm_head"], 8) == ([], [])


def test_a_folder_of_devices_is_told_in_a_few_lines(model: Path) -> None:
    for number in range(20):
        os.mkfifo(model / f"pipe-{number}")
    assert len(problems(model)) == 5


def test_a_pipe_in_the_folder_of_a_template_is_not_read(model: Path) -> None:
    folder = model.parent / "template"
    folder.mkdir()
    os.mkfifo(folder / "tokenizer_config.json")
    found = check_template(model, str(folder))
    assert [(p.kind, p.setting) for p in found] == [("bad-template", "chat_template_path")]

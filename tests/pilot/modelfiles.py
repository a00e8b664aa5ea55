"""Models on the disk for the tests of the picker: small, but whole for everything that only reads headers."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

TEMPLATES = {
    "": "",
    "own": "{{ messages }}",
    "chatml": "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
}
CODE = (
    "from transformers import PretrainedConfig\n\n\nclass OwnConfig(PretrainedConfig):\n    model_type = 'own-kind'\n"
)


def tiny_weights(path: Path, count: int, dtype: str = "BF16") -> None:
    """A safetensors file whose header tells so many parameters; the numbers themselves are a hole in the file."""
    size = {"BF16": 2, "F32": 4, "U8": 1}[dtype]
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    each, at, header = count // len(names), 0, {}
    for name in names:
        header[f"model.layers.0.x.{name}.weight"] = {
            "dtype": dtype,
            "shape": [each],
            "data_offsets": [at, at + each * size],
        }
        at += each * size
    body = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(body)) + body)
        file.truncate(8 + len(body) + at)


def model_dir(
    path: Path,
    *,
    parameters: int = 494_032_768,
    dtype: str = "BF16",
    architecture: str = "Qwen2ForCausalLM",
    model_type: str = "qwen2",
    template: str = "chatml",
    licence: str = "",
    code: bool = False,
    age: float = 0.0,
) -> Path:
    """A directory that looks like a model to all that loads nothing; ``age`` is how long ago it was used, in seconds."""
    path.mkdir(parents=True)
    config: dict[str, Any] = {"architectures": [architecture], "model_type": model_type}
    if code:
        config |= {"architectures": ["OwnForCausalLM"], "model_type": "own-kind",
                   "auto_map": {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}}  # fmt: skip
        (path / "configuration_own.py").write_text(CODE)
        (path / "modeling_own.py").write_text(
            "from .configuration_own import OwnConfig\n\n\nclass OwnForCausalLM:\n    pass\n"
        )
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    if template:
        (path / "chat_template.jinja").write_text(TEMPLATES.get(template, template))
    if licence:
        (path / "README.md").write_text(f"---\nlicense: {licence}\n---\n# A model\n")
    tiny_weights(path / "model.safetensors", parameters, dtype)
    when = time.time() - age
    for file in path.iterdir():
        os.utime(file, (when, when))
    return path


def hub_model(cache: Path, name: str, *, commit: str = "", main: bool = True, **given: Any) -> Path:
    """A model in the hub's cache; returns its snapshot."""
    place = cache / f"models--{name.replace('/', '--')}"
    commit = commit or hashlib.sha1(name.encode()).hexdigest()
    if main:
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
    return model_dir(place / "snapshots" / commit, **given)

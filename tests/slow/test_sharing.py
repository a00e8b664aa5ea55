"""Layers that are shared out, in one process on whatever device is there: the hooks, our passes and the adapters' losses.

On a machine with an NVIDIA GPU this is the only part of it that one card can show; several processes are in test_ranks.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine import hardware, paths

pytestmark = pytest.mark.slow
LOSSES = """
import json, os, sys, torch, torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import FSDPModule
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from engine.worker import sharding
from engine.worker.fast import attention, lora

model_path, shared, four, recomputed, meeting = sys.argv[1], *(word == "true" for word in sys.argv[2:5]), sys.argv[5]
device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
kind = torch.bfloat16 if device.type == "cuda" else torch.float32
dist.init_process_group("nccl" if device.type == "cuda" else "gloo", init_method=f"file://{meeting}", rank=0, world_size=1)
attention.register()
torch.manual_seed(0)
quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind,
                               bnb_4bit_quant_storage=kind) if four else None
where = device if four or not shared else torch.device("cpu")
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=kind, attn_implementation=attention.NAME, device_map={"": where},
                                             quantization_config=quantised)
model.config.use_cache = False
tuned = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM"))
if recomputed:
    tuned.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    tuned.enable_input_require_grads()
if shared:
    sharding.share(tuned, device, filled=four)
if not four:
    assert lora.fuse(tuned, None)
tuned.train()
optimizer = torch.optim.AdamW([each for each in tuned.parameters() if each.requires_grad], lr=1e-2)
losses = []
for step in range(6):
    ids = torch.randint(5, 2000, (1, 256), generator=torch.Generator().manual_seed(step)).to(device)
    places = torch.arange(128, device=device).repeat(2)[None]
    borders = attention.Borders(torch.tensor([0, 128, 256], dtype=torch.int32, device=device), 128, [128, 128])
    with attention.apart(borders), torch.autocast(device.type, kind, enabled=device.type == "cuda"):
        hidden = model.base_model(input_ids=ids, position_ids=places, attention_mask=attention.no_mask(device),
                                  use_cache=False).last_hidden_state
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden)[0, :-1].float(), ids[0, 1:])
        loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())
parts = sum(hasattr(each, "_local_tensor") for each in tuned.parameters())
units = sum(isinstance(module, FSDPModule) for module in tuned.modules())
print(json.dumps({"losses": losses, "parts": parts, "units": units, "layers": model.config.num_hidden_layers}))
"""


def losses(folder: Path, *, shared: bool, four: bool, recomputed: bool) -> list[float]:
    words = [str(flag).lower() for flag in (shared, four, recomputed)]
    meeting = folder / f"meeting-{shared}"
    command = [sys.executable, "-c", LOSSES, str(paths.sample_data_dir() / "tiny-qwen2"), *words, str(meeting)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert bool(told["parts"]) is shared
    assert told["units"] == (told["layers"] + 1 if shared else 0), "each layer is gathered by itself"
    return list(told["losses"])


@pytest.mark.parametrize(("four", "recomputed"), [(False, True), (True, True)])
def test_the_losses_are_those_of_whole_layers(tmp_path: Path, four: bool, recomputed: bool) -> None:
    if four and not (hardware.gpus() and importlib.util.find_spec("bitsandbytes")):
        pytest.skip("needs an NVIDIA GPU and bitsandbytes")
    one, other = (losses(tmp_path, shared=shared, four=four, recomputed=recomputed) for shared in (False, True))
    print(one, other)
    assert one[-1] < one[0] and one == pytest.approx(other, rel=2e-3 if hardware.gpus() else 1e-6)

"""A layer and its adapter as one step: the same numbers and gradients as PEFT's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from engine.worker.fast import lora


def tuned(targets: str | list[str] = "all-linear", **more: Any) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    base = Qwen2ForCausalLM(Qwen2Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                        num_key_value_heads=2))  # fmt: skip
    model = get_peft_model(
        base, LoraConfig(**{"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": targets, **more})
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return model.train()


def gradients(model: Any) -> tuple[float, dict[str, Any]]:
    ids = torch.arange(5, 45).reshape(2, 20)
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return float(loss.detach()), found


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"r": 5, "lora_alpha": 3}])
def test_loss_and_gradients_are_peft_s(more: dict[str, Any]) -> None:
    model = tuned(**more)
    loss, expected = gradients(model)
    assert lora.fuse(model, None) == 14
    fused, found = gradients(model)
    assert fused == pytest.approx(loss, rel=1e-6) and set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_dropout": 0.1}, {"lora_bias": True}])
def test_what_it_cannot_compute_stays_peft_s(more: dict[str, Any]) -> None:
    """Dropout needs the kernels, which need a GPU."""
    model = tuned(**more)
    assert lora.fuse(model, None) == 0


def test_it_computes_only_while_training_and_with_the_adapter() -> None:
    model = tuned()
    ids = torch.arange(5, 25)[None]
    expected = model.eval()(input_ids=ids).logits
    with model.disable_adapter():
        without = model(input_ids=ids).logits
    lora.fuse(model, None)
    torch.testing.assert_close(model(input_ids=ids).logits, expected)
    with model.train().disable_adapter():
        torch.testing.assert_close(model(input_ids=ids).logits, without)
    assert not torch.allclose(expected, without)


def test_seeds_differ_by_step_and_pass_and_are_the_same_again() -> None:
    seeds, drawn = lora.Seeds(torch.device("cpu")), []
    for step in range(50):
        for part in range(4):
            seeds.set(42, step, part)
            drawn.append(int(seeds.tensor))
    assert len(set(drawn)) == 200
    seeds.set(42, 7, 2)
    assert int(seeds.tensor) == drawn[7 * 4 + 2]


def test_the_dropout_s_kernels_draw_one_mask_for_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Triton's interpreter on a CPU, as on a GPU: needs the package, which comes with torch for CUDA."""
    if not torch.cuda.is_available():
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton")
    from engine.worker.fast import lora_kernels as kernels

    torch.manual_seed(0)
    seed, p = torch.tensor([99]), 0.25
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x, weight = torch.randn(100, 304, requires_grad=True, device=device), torch.randn(200, 304, device=device)
    a, b = (torch.randn(*shape, device=device).mul(0.1).requires_grad_() for shape in ((16, 304), (200, 16)))
    seed = seed.to(device)
    y = lora._LoraLinear.apply(x, weight, None, a, b, 2.0, p, seed, 7)
    push = torch.randn_like(y)
    y.backward(push)
    found = [t.grad.clone() for t in (x, a, b)]
    one, first = torch.zeros(100, 16, device=device), torch.zeros(16, 304, device=device)
    one[:, 0] = first[0] = 1
    mask = torch.zeros(100, 304, device=device)
    kernels.add_dropped_up(mask, one, first, seed, 7, p)
    assert float(mask.max()) == pytest.approx(1 / 0.75) and float((mask == 0).float().mean()) == pytest.approx(
        p, abs=0.01
    )
    for t in (x, a, b):
        t.grad = None
    plain = torch.nn.functional.linear(x, weight) + ((x * mask) @ a.t() @ b.t()) * 2.0
    plain.backward(push)
    # A GPU multiplies float32 tiles with ten bits of mantissa.
    assert float((y - plain).norm() / plain.norm()) < 2e-3
    for got, t in zip(found, (x, a, b), strict=True):
        assert float((got - t.grad).norm() / t.grad.norm()) < 5e-3

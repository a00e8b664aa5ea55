"""Samples laid end to end: what a pass holds, and that no sample sees another."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from engine.worker.fast import attention
from engine.worker.fast.attention import Borders
from engine.worker.fast.batches import EndToEnd, divided, rounded


def sample(length: int, first: int = 10, prompt: int = 2) -> dict[str, Any]:
    ids = list(range(first, first + length))
    return {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}


def test_a_pass_holds_samples_in_their_order_with_their_own_positions() -> None:
    laid = EndToEnd(0, 100)([sample(5), sample(3, 50), sample(4, 80, prompt=3)])
    (part,) = laid["passes"]
    assert part["input_ids"].tolist() == [[10, 11, 12, 13, 14, 50, 51, 52, 80, 81, 82, 83]]
    assert part["position_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3]]
    assert part["starts"].tolist() == [0, 5, 8, 12] and part["starts"].dtype == torch.int32
    assert part["longest"] == 5 and part["lengths"] == [5, 3, 4] and part["tokens"] == 12
    # At each of these places the next token is learned: never the first of the next sample.
    assert part["learned"].tolist() == [1, 2, 3, 6, 10]
    assert part["targets"].tolist() == [12, 13, 14, 52, 83]


def test_what_is_learned_is_counted_as_the_plain_way_counts_it() -> None:
    """Transformers counts over ``labels[:, 1:]``: of each row by itself, the first label left out."""
    rows = [sample(5), sample(3, 50), {"input_ids": [1, 2, 3], "labels": [1, 2, 3]}, {"input_ids": [7, 8]}]
    plain = sum(sum(label != -100 for label in row.get("labels", row["input_ids"])[1:]) for row in rows)
    laid = EndToEnd(0, 6)(rows)
    assert int(laid["labels"][..., 1:].ne(-100).sum()) == plain == sum(len(part["targets"]) for part in laid["passes"])


def test_as_few_passes_as_hold_the_samples_of_nearly_the_same_size() -> None:
    lengths = [40, 50, 30, 200, 10, 60, 41]
    laid = EndToEnd(0, 100)([sample(length) for length in lengths])
    assert [part["lengths"] for part in laid["passes"]] == [[200], [10, 60], [50, 30], [40, 41]], (
        "200 is above, and so alone"
    )
    assert divided([600, 700, 500, 400, 800], 2048) == [[2, 3, 4], [0, 1]]
    assert divided([5, 3, 4], 100) == [[0, 1, 2]] and divided([7], 3) == [[0]] and divided([], 3) == []
    source, saved = random.Random(3), 0
    for _ in range(300):
        some, budget = [source.randint(1, 300) for _ in range(source.randint(1, 40))], source.randint(20, 900)
        groups = divided(some, budget)
        assert sorted(place for group in groups for place in group) == list(range(len(some)))
        sizes = [sum(some[place] for place in group) for group in groups]
        assert all(size <= budget or len(group) == 1 for size, group in zip(sizes, groups, strict=True))
        in_order, room = 0, 0
        for length in some:
            if not in_order or length > room:
                in_order, room = in_order + 1, budget
            room -= length
        assert len(groups) <= in_order + 1
        saved += in_order - len(groups)
    assert saved > 150, "fewer passes than one by one, in their order"


def test_what_fills_a_pass_is_a_sample_that_nothing_learns_from() -> None:
    (part,) = EndToEnd(0, 1000, rounded=True)([sample(100), sample(20)])["passes"]
    assert (
        part["input_ids"].shape == (1, 128)
        and part["lengths"] == [100, 20, 8]
        and part["starts"].tolist() == [0, 100, 120, 128]
    )
    assert part["tokens"] == 120 and int(part["learned"].max()) < 119
    assert [rounded(n) for n in (1, 128, 129, 2048, 2049)] == [128, 128, 256, 2048, 2304]


def model(**more: Any) -> Any:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    attention.register()
    torch.manual_seed(1)
    made = Qwen2ForCausalLM(Qwen2Config(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                        num_key_value_heads=2, max_position_embeddings=128, **more))  # fmt: skip
    made.set_attn_implementation(attention.NAME)
    return made


def hidden(made: Any, rows: list[list[int]]) -> Any:
    ids = torch.tensor([[token for row in rows for token in row]])
    places = torch.tensor([[place for row in rows for place in range(len(row))]])
    starts = torch.tensor([0, *(len(row) for row in rows)], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    with attention.apart(Borders(starts, max(map(len, rows)), [len(row) for row in rows])):
        return made.model(
            input_ids=ids, position_ids=places, attention_mask=attention.no_mask("cpu"), use_cache=False
        ).last_hidden_state[0]


@pytest.mark.parametrize("more", [{}, {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0}])
def test_each_sample_is_computed_as_if_it_were_alone(more: dict[str, Any]) -> None:
    made = model(**more)
    rows = [[3, 4, 5, 6, 7, 8, 9], [10, 11], [12], [20, 21, 22, 23, 24]]
    together = hidden(made, rows)
    made.set_attn_implementation("sdpa")
    begin = 0
    for row in rows:
        alone = made.model(input_ids=torch.tensor([row]), use_cache=False).last_hidden_state[0]
        torch.testing.assert_close(together[begin : begin + len(row)], alone, rtol=1e-5, atol=1e-6)
        begin += len(row)


def test_nothing_leaks_from_one_sample_into_another_forward_or_backward() -> None:
    made = model()
    before = hidden(made, [[3, 4, 5, 6], [10, 11, 12]])
    after = hidden(made, [[3, 4, 5, 6], [30, 31, 32]])
    assert torch.equal(before[:4], after[:4]) and not torch.allclose(before[4:], after[4:])
    table = made.model.embed_tokens.weight
    hidden(made, [[3, 4, 5, 6], [10, 11, 12]])[4:].sum().backward()
    touched = set(table.grad.abs().sum(1).nonzero().flatten().tolist())
    assert touched == {10, 11, 12}


def test_outside_of_training_it_is_transformers_own_attention_with_padding() -> None:
    made = model().eval()
    ids, mask = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    ours = made(input_ids=ids, attention_mask=mask).logits
    made.set_attn_implementation("sdpa")
    torch.testing.assert_close(ours, made(input_ids=ids, attention_mask=mask).logits)


def test_attention_that_it_cannot_compute_is_refused_not_computed_wrongly() -> None:
    part = torch.zeros(1, 2, 4, 8)
    with (
        attention.apart(Borders(torch.tensor([0, 4]), 4, [4])),
        pytest.raises(ValueError, match="soft cap"),
    ):
        attention._attention(None, part, part, part, None, softcap=30.0)

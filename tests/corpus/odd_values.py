"""Values that were seen in the wild, and worse: the files are whole, what stands in them is not as it should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.corpus.case import Case, layout
from tests.corpus.parts import (
    QWEN,
    adapter,
    card,
    end_row,
    eval_row,
    falling,
    put_adapter,
    put_checkpoint,
    put_state,
    state,
    told,
    train_rows,
    write,
)

NAN, INF = float("nan"), float("inf")


@layout
def odd_nan_and_infinity(here: Path) -> dict[str, Any]:
    """Bare NaN and Infinity in grad_norm, loss and eval_loss."""
    losses, evals = [1.5, 1.25, INF, NAN, NAN], [0.9, INF, NAN]
    rows = train_rows(losses)
    rows[2]["grad_norm"], rows[3]["grad_norm"] = INF, NAN
    rows[2:2] = [eval_row(20, evals[0])]
    rows += [eval_row(50, evals[1]), eval_row(50, evals[2])]
    put_state(here, state(rows, 50, 100, best_metric=NAN, total_flos=INF))
    return told(losses, evals, tool="transformers", state="unknown", step=50, total_steps=100, problem=None)


@layout
def odd_all_nan(here: Path) -> dict[str, Any]:
    """Nothing finite: there is a last loss and no best one."""
    losses = [NAN] * 6
    put_state(here, state(train_rows(losses), 60, 60))
    return told(losses, tool="transformers", state="completed", best_loss=None)


@layout
def odd_negative_infinity(here: Path) -> dict[str, Any]:
    """-Infinity is no best loss."""
    losses = [1.0, -INF, 2.0]
    put_state(here, state(train_rows(losses), 30, 30))
    return told(losses, best_loss=1.0, last_loss=2.0)


@layout
def odd_strings_for_numbers(here: Path) -> dict[str, Any]:
    """Every number in quotes, as formatted logs have it."""
    rows: list[dict[str, Any]] = [
        {key: str(value) for key, value in row.items()} for row in train_rows([2.5, 1.75, 0.875])
    ]
    rows.append({key: str(value) for key, value in eval_row(30, 1.125).items()})
    put_state(here, state(rows, "30", "60", epoch="1.5", epochs="3"))
    return told(
        [2.5, 1.75, 0.875],
        [1.125],
        tool="transformers",
        state="unknown",
        step=30,
        total_steps=60,
        epoch=1.5,
        curves=["loss", "grad_norm"],
    )


@layout
def odd_nan_as_string(here: Path) -> dict[str, Any]:
    """ "nan" and "Infinity" in quotes are numbers too; words are none."""
    put_state(
        here,
        state([*train_rows([1.0, "nan"]), {"loss": "n/a", "step": 25}, *train_rows(["Infinity"], start=20)], 30, 60),
    )
    return {"state": "unknown", "points": 3, "last_loss": INF, "best_loss": 1.0}


@layout
def odd_rows_without_step(here: Path) -> dict[str, Any]:
    """The rows count though they have no place on the axis of steps."""
    losses = falling(4)
    rows = [{key: value for key, value in row.items() if key != "step"} for row in train_rows(losses)]
    put_state(here, state(rows, 40, 80, epoch=1.5))
    return told(losses, state="unknown", step=40, total_steps=80)


@layout
def odd_rows_without_loss(here: Path) -> dict[str, Any]:
    """Only some rows have a loss."""
    losses = falling(6)
    rows = train_rows(losses)
    for place in (1, 3, 5):
        del rows[place]["loss"]
    rows[4]["loss"] = None
    kept = [losses[0], losses[2]]
    put_state(here, state(rows, 60, 60))
    return told(kept, state="completed", step=60)


@layout
def odd_empty_log(here: Path) -> dict[str, Any]:
    """``log_history`` is empty: known to be nothing."""
    put_state(here, state([], 0, 100, epoch=0.0))
    put_adapter(here)
    return {
        "tool": "transformers",
        "state": "unknown",
        "step": 0,
        "total_steps": 100,
        "points": 0,
        "last_loss": None,
        "best_loss": None,
        "problem": None,
    }


@layout
def odd_log_missing(here: Path) -> dict[str, Any]:
    """A state without ``log_history``."""
    content = state([], 10, 20)
    del content["log_history"]
    put_state(here, content)
    return {"tool": "transformers", "state": "unknown", "step": 10, "total_steps": 20, "last_loss": None}


@layout
def odd_log_of_other_things(here: Path) -> dict[str, Any]:
    """Rows that are no objects, and objects for numbers."""
    rows: list[Any] = [None, 3, "row", ["loss", 1], {}, {"loss": {"value": 1}, "step": [1]}, {"loss": True, "step": 5},
                       *train_rows([0.5], every=7)]  # fmt: skip
    put_state(here, state(rows, 7, 7))
    return {"state": "completed", "step": 7, "last_loss": 0.5, "best_loss": 0.5}


@layout
def odd_log_is_an_object(here: Path) -> dict[str, Any]:
    """``log_history`` is no list."""
    put_state(here, state([], 5, 10, log_history={"loss": [1, 2, 3]}))
    return {"tool": "transformers", "step": 5, "total_steps": 10, "last_loss": None}


@layout
def odd_steps(here: Path) -> list[Case]:
    """Numbers of steps that cannot be."""
    values: dict[str, tuple[Any, Any]] = {"minus-one": (30, -1), "zero": (30, 0), "none": (None, None), "words": ("thirty", "many"),
                                          "fraction": (30.0, 60.0), "negative": (-30, 60), "true": (True, False), "nan": (NAN, INF)}  # fmt: skip
    known: dict[str, dict[str, Any]] = {"minus-one": {"step": 30, "total_steps": None}, "zero": {"step": 30, "total_steps": None},
                                        "none": {"step": 30, "total_steps": None}, "fraction": {"step": 30, "total_steps": 60},
                                        "words": {"step": 30, "total_steps": None}, "nan": {"step": 30, "total_steps": None}}  # fmt: skip
    found = []
    for name, (step, total) in values.items():
        put_state(here / name, state(train_rows([1.0, 0.75, 0.875]), step, total))
        found.append(
            Case(
                f"odd-steps-{name}",
                here / name,
                {"state": "unknown", "points": 3, "last_loss": 0.875, "best_loss": 0.75, **known.get(name, {})},
            )
        )
    return found


@layout
def odd_huge_numbers(here: Path) -> list[Case]:
    """Integers that no database holds, floats beyond all, digits without end."""
    rows = train_rows([1.0, 0.5])
    text = json.dumps(state(rows, 20, 40), sort_keys=True)
    kinds = {"google": text.replace('"max_steps": 40', '"max_steps": 1' + "0" * 100), "digits": text.replace('"max_steps": 40', '"max_steps": ' + "9" * 6000),
             "exponent": text.replace('"max_steps": 40', '"max_steps": 1e400'), "beyond-64-bit": text.replace('"global_step": 20', '"global_step": 18446744073709551616'),
             "loss": text.replace('"loss": 0.5', '"loss": 1e400'), "loss-digits": text.replace('"loss": 0.5', '"loss": ' + "7" * 400),
             "step": text.replace('"step": 20', '"step": 1e308')}  # fmt: skip
    found = []
    for name, content in kinds.items():
        write(here / name / "trainer_state.json", content)
        put_adapter(here / name, adapter(QWEN, 16, 32))
        found.append(Case(f"odd-huge-{name}", here / name, {"tool": "transformers", "base_model": QWEN, "lora_r": 16}))
    return found


@layout
def odd_adapters(here: Path) -> list[Case]:
    """Adapters with values of other kinds."""
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "base-null": (adapter(None), {"base_model": None, "lora_r": 16}),
        "base-empty": (adapter(""), {"base_model": None}),
        "base-list": (adapter(["a", "b"]), {}),
        "base-number": (adapter(7), {}),
        "rank-string": (adapter(QWEN, "16", "32"), {"lora_r": 16, "lora_alpha": 32}),
        "rank-null": (adapter(QWEN, None, None), {"lora_r": None, "lora_alpha": None, "base_model": QWEN}),
        "rank-huge": (adapter(QWEN, 10**400, 10**400), {"base_model": QWEN}),
        "alpha-float": (adapter(QWEN, 128, 256.0), {"lora_r": 128, "lora_alpha": 256}),
        "modules-pattern": (adapter(QWEN, target_modules=r".*\.(q|v)_proj$"), {"lora_r": 16}),
        "modules-all": (adapter(QWEN, target_modules="all-linear", use_dora=True), {"settings": {"target_modules": "all-linear", "use_dora": True}}),
        "modules-null": (adapter(QWEN, target_modules=None, modules_to_save=None), {"base_model": QWEN}),
        "modules-mixed": (adapter(QWEN, target_modules=["q_proj", 3, None, {}]), {"base_model": QWEN}),
        "windows-path": (adapter("C:\\models\\Qwen2.5"), {"base_model": "C:\\models\\Qwen2.5"}),
        "escape": (adapter("evil\x1b]0;owned\x07/model\n\u202e"), {}),
        "surrogate": (adapter("half \ud800 a pair"), {}),
    }  # fmt: skip
    found = []
    for name, (config, expected) in kinds.items():
        put_adapter(here / name, config)
        put_state(here / name, state(train_rows([1.0, 0.5]), 20, 20))
        found.append(
            Case(
                f"odd-adapter-{name}",
                here / name,
                {"tool": "transformers", "state": "completed", "last_loss": 0.5} | expected,
            )
        )
    return found


@layout
def odd_cards(here: Path) -> list[Case]:
    """Model cards whose head is not what it should be; the state is read all the same."""
    kinds = {"list": "---\nbase_model:\n- meta-llama/Llama-3.1-8B\n- other/model\n---\n", "none": "---\nbase_model: None\n---\n", "unclosed": "---\nbase_model: x\n",
             "broken": "---\nbase_model: [x\n\ttags: {\n---\nText", "number": "---\nbase_model: 1.5\ntags: 7\n---\n", "null": "---\n---\n", "scalar": "---\njust words\n---\n",
             "bomb": "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)) + "---\n",
             "date": "---\nbase_model: 2024-01-01\n---\n", "object": "---\nbase_model: !!python/name:os.system\n---\n", "latin": b"---\nlicense: caf\xe9\n---\n"}  # fmt: skip
    found = []
    for name, text in kinds.items():
        write(here / name / "README.md", text)
        put_state(here / name, state(train_rows([1.0, 0.5]), 20, 20))
        found.append(Case(f"odd-card-{name}", here / name, {"tool": "transformers", "state": "completed", "last_loss": 0.5, "step": 20}
                          | ({"base_model": None} if name in ("none", "null", "scalar") else {})))  # fmt: skip
    return found


@layout
def odd_base_in_card_only(here: Path) -> dict[str, Any]:
    """The adapter does not know its base model; the card does."""
    put_adapter(here, adapter(None))
    put_state(here, state([*train_rows([1.0]), end_row(10)], 10, 10))
    write(here / "README.md", card(QWEN, ["trl", "sft"]))
    return {"tool": "trl", "base_model": QWEN, "state": "completed"}


@layout
def odd_several_eval_sets(here: Path) -> dict[str, Any]:
    """Evaluations by name of their set."""
    rows = [*train_rows([1.0, 0.5]), {"epoch": 1.0, "eval_chat_loss": 0.9, "eval_code_loss": 0.4, "step": 20}]
    put_state(here, state(rows, 20, 20))
    return {"points": 2, "last_loss": 0.5, "state": "completed", "step": 20}


@layout
def odd_loss_and_eval_in_one_row(here: Path) -> dict[str, Any]:
    """Rows that hold the loss of training and of evaluation, as some callbacks write them."""
    losses, evals = [1.5, 1.0, 0.75], [1.6, 1.2, 1.3]
    rows = [row | {"eval_loss": loss} for row, loss in zip(train_rows(losses), evals, strict=True)]
    put_state(here, state(rows, 30, 30))
    return told(losses, evals, tool="transformers", state="completed", step=30)


@layout
def odd_renumbered_checkpoint(here: Path) -> dict[str, Any]:
    """The folder says one step, the state in it another: the state is believed."""
    losses = falling(4)
    put_checkpoint(here, 40, state(train_rows(losses), 40, 100, epoch=1.2), adapter(QWEN)).rename(here / "checkpoint-7")
    return told(losses, tool="transformers", state="unknown", step=40, total_steps=100, checkpoints=[7], valid=[])


@layout
def odd_doubled_keys(here: Path) -> dict[str, Any]:
    """One key twice."""
    write(
        here / "trainer_state.json",
        '{"global_step": 10, "global_step": 20, "max_steps": 20, "log_history": [{"loss": 2.0, "loss": 1.0, "step": 20}]}',
    )
    return {"points": 1, "step": 20, "last_loss": 1.0, "state": "completed"}


@layout
def odd_unsorted_steps(here: Path) -> dict[str, Any]:
    """Rows that go back: the last one is the last that was written."""
    rows = [*train_rows([2.0, 1.0, 0.5]), *train_rows([1.5, 1.25])]
    put_state(here, state(rows, 20, 30))
    return {"points": 5, "last_loss": 1.25, "best_loss": 0.5, "step": 20, "state": "unknown"}


@layout
def odd_steps_twice(here: Path) -> dict[str, Any]:
    """Two rows at each step, as some callbacks log: both were logged."""
    losses = falling(8)
    rows = [row | {"step": 10 * (i // 2 + 1)} for i, row in enumerate(train_rows(losses))]
    put_state(here, state(rows, 40, 80))
    return told(losses, state="unknown", step=40)


@layout
def odd_24000_rows(here: Path) -> dict[str, Any]:
    """As long as the longest that was seen."""
    losses = [round(2.5 - i / 12_000, 6) for i in range(24_000)]
    put_state(here, state(train_rows(losses, every=1), 24_000, 24_000))
    put_adapter(here)
    return told(losses, tool="transformers", state="completed", step=24_000, total_steps=24_000, problem=None)


@layout
def odd_values_in_a_checkpoint(here: Path) -> dict[str, Any]:
    """Numbers of checkpoints: zero, doubled, with leading zeros, huge; names that are none."""
    losses = falling(3)
    put_checkpoint(here, 30, state(train_rows(losses), 30, 30), adapter(QWEN))
    for name in (
        "checkpoint-",
        "checkpoint-x",
        "checkpoint-1.5",
        "checkpoint--7",
        "my-checkpoint-5",
        "checkpoint-30-old",
    ):
        write(here / name / "notes.txt", "kept by hand\n")
    write(here / "checkpoint-99", "a file\n")
    (here / "checkpoint-77").symlink_to("checkpoint-30")
    return told(losses, tool="transformers", state="completed", step=30)

"""RunConfig: defaults of the design, coercion, errors that name the setting, and round trips."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from engine.config import check, flags, parse, settings, yaml_file
from engine.config.fields import GROUPS
from engine.errors import InputError

NEEDED = {"train_path": "t.jsonl", "output_dir": "o"}
FIXED_DEFAULTS = {
    "base_model": "Qwen/Qwen2.5-7B-Instruct", "eval_path": None, "max_seq_length": 2048, "learning_rate": 1e-4,
    "num_train_epochs": 3, "batch_size": 1, "gradient_accumulation_steps": 4, "save_steps": 100, "logging_steps": 10,
    "seed": 42, "lora_r": 16, "lora_alpha": 16, "lora_dropout": 0.05, "trust_remote_code": False, "bias": "none",
    "task_type": "CAUSAL_LM", "optim": "auto", "warmup_ratio": 0.03, "lr_scheduler_type": "cosine", "gpus": "auto",
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}  # fmt: skip


def test_defaults_are_those_of_the_design() -> None:
    config = parse(NEEDED)
    assert {name: getattr(config, name) for name in FIXED_DEFAULTS} == FIXED_DEFAULTS


def test_every_setting_is_described_for_people() -> None:
    for info in settings().values():
        assert info.group in GROUPS
        assert len(info.help) > 15 and info.help.endswith("."), info.name
        if info.kind in ("integer", "number"):
            assert info.range_text, info.name
            assert list(info.ladder) == sorted(info.ladder), info.name
            for rung in info.ladder:
                config, problems = check({**NEEDED, info.name: rung, "eval_path": "e.jsonl"} if info.name != "eval_fraction"
                                         else {**NEEDED, info.name: rung})  # fmt: skip
                assert config is not None, (info.name, rung, problems)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("learning_rate", "0", "above 0"),
        ("learning_rate", "fast", "a number"),
        ("learning_rate", "nan", "a number"),
        ("learning_rate", "inf", "a number"),
        ("lora_r", 0, "1 to 8192"),
        ("lora_r", "1.5", "whole number"),
        ("lora_r", True, "whole number"),
        ("lora_dropout", 1, "0 to 0.9"),
        ("batch_size", -1, "1 to"),
        ("seed", -1, "0 to"),
        ("dtype", "bf16", "bfloat16"),
        ("packing", "maybe", "auto, true, false"),
        ("gpus", "0,x", "GPU indices"),
        ("gpus", "0,0", "different GPUs"),
        ("trust_remote_code", "perhaps", "true or false"),
        ("target_modules", "", "names with commas"),
        ("base_model", "  ", "empty"),
        ("eval_fraction", "0.9", "0.5"),
        ("max_steps", "0", "1 or more"),
        ("optim", "adam", "one of"),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object, words: str) -> None:
    config, problems = check({**NEEDED, name: value})
    assert config is None
    assert [problem.setting for problem in problems] == [name]
    assert words in f"{problems[0].message} {problems[0].hint}"


@pytest.mark.parametrize(
    ("values", "setting"),
    [
        ({"load_in_4bit": True, "load_in_8bit": True}, "load_in_4bit"),
        ({"eval_path": "e", "eval_fraction": 0.1}, "eval_fraction"),
        ({"load_best_model_at_end": True}, "load_best_model_at_end"),
        ({"early_stopping_patience": 2}, "early_stopping_patience"),
        ({"eval_steps": 5}, "eval_steps"),
        ({"packing": True, "padding_free": False}, "padding_free"),
        ({"eval_path": "e", "load_best_model_at_end": True, "eval_steps": 30, "save_steps": 50}, "save_steps"),
    ],
)
def test_contradictions_are_named(values: dict[str, object], setting: str) -> None:
    config, problems = check({**NEEDED, **values})
    assert config is None and [problem.setting for problem in problems] == [setting]


@pytest.mark.parametrize(("wrong", "right"), [("lr", "learning_rate"), ("lora_rank", "lora_r"), ("learning_rat", "learning_rate"),
                                              ("epochs", "num_train_epochs"), ("Max-Seq-Length", "max_seq_length")])  # fmt: skip
def test_unknown_settings_name_the_nearest_known_one(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=f"Did you mean {right}"):
        parse({**NEEDED, wrong: 1})


def test_missing_required_settings_are_all_named() -> None:
    _, problems = check({})
    assert {problem.setting for problem in problems} == {"train_path", "output_dir"}


def test_texts_are_read_as_people_type_them() -> None:
    config = parse({**NEEDED, "learning_rate": "2e-4", "lora_r": "8", "trust_remote_code": "no", "packing": "Yes",
                    "target_modules": "q_proj, v_proj", "gpus": "0,1", "eval_path": "", "max_steps": "none",
                    "modules_to_save": "", "report_to": "tensorboard"})  # fmt: skip
    assert (config.learning_rate, config.lora_r, config.trust_remote_code, config.packing) == (2e-4, 8, False, True)
    assert config.target_modules == ["q_proj", "v_proj"] and config.gpus == [0, 1] and config.eval_path is None
    assert config.max_steps is None and config.modules_to_save is None and config.report_to == ["tensorboard"]
    assert parse({**NEEDED, "target_modules": "all-linear"}).target_modules == "all-linear"


def test_yaml_round_trip_starts_the_same_run(tmp_path: Path) -> None:
    config = parse({**NEEDED, "learning_rate": 3e-5, "gpus": "0,1", "run_name": "한국어: '따옴표'", "eval_fraction": 0.1,
                    "target_modules": "all-linear", "neftune_noise_alpha": 5})  # fmt: skip
    for only_changed in (False, True):
        file = tmp_path / "run.yaml"
        file.write_text(yaml_file.dumps(config, only_changed=only_changed, header="a run"), encoding="utf-8")
        assert parse(yaml_file.load(file)) == config


def test_yaml_exponents_without_a_dot_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("learning_rate: 1e-5\ntrain_path: a\noutput_dir: b\n")
    assert parse(yaml_file.load(file)).learning_rate == 1e-5


@pytest.mark.parametrize(("text", "words"), [("a: [1", "run.yaml:"), ("- a\n- b\n", "setting: value"), ("a: b: c\n", "run.yaml:1"),
                                             ("\tx: 1", "run.yaml:1")])  # fmt: skip
def test_bad_yaml_names_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        yaml_file.load(file)
    assert words in str(caught.value)


def test_yaml_paths_are_relative_to_their_file(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text("{}")
    (tmp_path / "run.yaml").write_text("train_path: data.jsonl\neval_path: elsewhere.jsonl\n")
    values = yaml_file.load(tmp_path / "run.yaml")
    assert values == {"train_path": str(tmp_path / "data.jsonl"), "eval_path": "elsewhere.jsonl"}


def _parse_flags(words: list[str]) -> dict[str, object]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_flags(parser)
    return flags.values_from(parser.parse_args(words))


def test_flags_accept_underscores_and_hyphens() -> None:
    assert _parse_flags(["--lora_r", "8"]) == _parse_flags(["--lora-r", "8"]) == {"lora_r": "8"}


def test_a_bare_flag_means_true_and_can_be_denied() -> None:
    assert _parse_flags(["--trust_remote_code"]) == {"trust_remote_code": "true"}
    assert _parse_flags(["--trust_remote_code", "false"]) == {"trust_remote_code": "false"}


def test_flags_override_the_yaml_file(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("lora_r: 4\nseed: 7\n")
    assert _parse_flags(["--config", str(tmp_path / "run.yaml"), "--lora_r", "8"]) == {"lora_r": "8", "seed": 7}


def test_the_command_line_repeats_the_run() -> None:
    import shlex

    config = parse(
        {**NEEDED, "learning_rate": 0.00012345678, "packing": True, "gpus": [1], "run_name": "a b'c", "lora_alpha": 0.1}
    )
    words = shlex.split(flags.command_line(config))
    assert words[:2] == ["tunedeck", "train"]
    assert parse(_parse_flags(words[2:])) == config


@pytest.mark.parametrize(
    "text", ["lora_r: !!bool foo", "lora_r: !!int x", "? {a: b}\n: c", "x: !!python/object:os.system y"]
)
def test_odd_yaml_is_refused_in_words(text: str) -> None:
    with pytest.raises(InputError, match=r"run\.yaml"):
        yaml_file.loads(text, "run.yaml")


def test_a_yaml_that_would_unfold_without_end_is_refused_at_once() -> None:
    """Nine levels of nine aliases: a full repr would have 400 million words."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)]
    bomb = yaml_file.loads("\n".join([*lines, "lora_r: *j"]), "run.yaml")["lora_r"]
    with pytest.raises(InputError, match="lora_r: must be a whole number"):
        parse({"train_path": "a", "output_dir": "b", "lora_r": bomb})

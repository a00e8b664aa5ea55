"""Checks before anything starts, and the arithmetic of a run."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine import preflight
from engine.config import parse
from engine.preflight import check, plan, propose_output_dir
from tests.support import ROW, fake_model, make_run, write_rows


@pytest.fixture
def good(tmp_path: Path) -> dict[str, object]:
    return {
        "base_model": str(fake_model(tmp_path / "model")),
        "train_path": str(write_rows(tmp_path / "train.jsonl", 10)),
        "output_dir": str(tmp_path / "out"),
    }


def kinds(values: dict[str, object]) -> list[tuple[str, str | None]]:
    result = check(parse(values))
    assert result.ok == (not result.errors)
    return [(problem.kind, problem.setting) for problem in result.errors]


def test_good_input_passes_and_leaves_nothing_behind(good: dict[str, object], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    result = check(parse(good))
    assert result.ok and result.plan is not None and result.plan.train_rows == 10 and not result.warnings
    assert sorted(tmp_path.rglob("*")) == before


def test_model_without_weights(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "model" / "model.safetensors").unlink()
    assert kinds(good) == [("bad-model", "base_model")]


def test_model_with_torn_weights(good: dict[str, object], tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert kinds(good) == [("bad-model", "base_model")]


def test_model_with_pickled_weights_only(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    (problem,) = check(parse(good)).errors
    assert "pickle" in problem.message and "safetensors" in problem.hint


def test_model_without_template_tokenizer_or_config(good: dict[str, object], tmp_path: Path) -> None:
    for name in ("chat_template.jinja", "config.json", "tokenizer.json"):
        (tmp_path / "model" / name).rename(tmp_path / name)
        (problem,) = check(parse(good)).errors
        assert problem.setting == ("chat_template_path" if "template" in name else "base_model")
        (tmp_path / name).rename(tmp_path / "model" / name)


def test_template_inside_the_tokenizer_config_counts(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "model" / "chat_template.jinja").unlink()
    (tmp_path / "model" / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": [{"name": "default", "template": "x"}]})
    )
    assert kinds(good) == []


@pytest.mark.parametrize(("template", "fault"), [
    ("{% if x %}", "line 1"), ("a\n{{ messages[ }}", "line 2"), ("{{ a }}{% endfor %}", "line 1"), ("{% generation %}x{%- endgeneration -%}", ""),
    ("{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{% endfor %}", "")])  # fmt: skip
def test_a_template_that_cannot_be_read_is_refused(
    good: dict[str, object], tmp_path: Path, template: str, fault: str
) -> None:
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    found = check(parse(good)).errors
    assert bool(found) == bool(fault) and all(fault in p.message and p.setting == "base_model" for p in found)


def test_a_damaged_tokenizer_is_refused(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "model" / "tokenizer.json").write_text('{"model": ')
    (problem,) = check(parse(good)).errors
    assert "tokenizer.json" in str(problem.file) and problem.setting == "base_model"


def test_missing_shard(good: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "model" / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a.q_proj.weight": "model-1.safetensors"}}'
    )
    (problem,) = check(parse(good)).errors
    assert "model-1.safetensors is missing" in problem.message


def test_model_paths_and_names(good: dict[str, object], tmp_path: Path) -> None:
    assert kinds({**good, "base_model": "/no/such/dir"}) == [("bad-model", "base_model")]
    assert kinds({**good, "base_model": good["train_path"]}) == [("bad-model", "base_model")]
    assert kinds({**good, "base_model": "what is this?"}) == [("bad-model", "base_model")]


def test_hub_model_offline_is_refused_and_online_warned(
    good: dict[str, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert kinds({**good, "base_model": "Qwen/Nope"}) == [("bad-model", "base_model")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    result = check(parse({**good, "base_model": "Qwen/Nope"}))
    assert result.ok and [w.kind for w in result.warnings] == ["not-downloaded"]
    place = tmp_path / "hub" / "models--Qwen--Nope"
    fake_model(place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    assert check(parse({**good, "base_model": "Qwen/Nope"})).warnings == []


def test_unknown_target_module_names_what_there_is(good: dict[str, object]) -> None:
    (problem,) = check(parse({**good, "target_modules": "q_proj,query_key_value"})).errors
    assert problem.setting == "target_modules" and "query_key_value" in problem.message and "q_proj" in problem.hint
    assert kinds({**good, "target_modules": "all-linear"}) == []


def test_output_refusals(good: dict[str, object], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert kinds({**good, "output_dir": str(file)}) == [("bad-output", "output_dir")]
    assert kinds({**good, "output_dir": str(file / "below")}) == [("bad-output", "output_dir")]
    assert kinds({**good, "output_dir": str(make_run(tmp_path / "old").path)}) == [("output-not-empty", "output_dir")]
    (tmp_path / "other" / "checkpoint-5").mkdir(parents=True)
    assert kinds({**good, "output_dir": str(tmp_path / "other")}) == [("output-not-empty", "output_dir")]
    (tmp_path / "fine").mkdir()
    (tmp_path / "fine" / "notes.txt").write_text("mine")
    assert kinds({**good, "output_dir": str(tmp_path / "fine")}) == []


@pytest.mark.skipif(os.path.realpath("/proc/sys") != "/proc/sys", reason="needs a place nobody can write")
def test_unwritable_output(good: dict[str, object]) -> None:
    assert kinds({**good, "output_dir": "/proc/sys/new"}) == [("bad-output", "output_dir")]


def test_worker_python_and_packages(good: dict[str, object]) -> None:
    assert kinds({**good, "worker_python": "/no/python"}) == [("bad-python", "worker_python")]
    import importlib.util

    if importlib.util.find_spec("bitsandbytes") is None:
        assert kinds({**good, "load_in_4bit": True}) == [("missing-package", "load_in_4bit")]


def test_data_errors_of_both_files_are_reported_at_once(good: dict[str, object], tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", [ROW, 3])
    found = check(parse({**good, "eval_path": str(tmp_path / "missing.jsonl")})).errors
    assert [(p.kind, p.line) for p in found] == [("not-a-chat", 2), ("missing-file", None)]


def test_no_answers_at_all(good: dict[str, object], tmp_path: Path) -> None:
    write_rows(tmp_path / "train.jsonl", [{"messages": [{"role": "user", "content": "x"}]}])
    assert kinds(good) == [("nothing-to-train", "train_path")]
    assert kinds({**good, "assistant_only_loss": False}) == []


def test_equal_train_and_eval_data_are_warned_about(good: dict[str, object]) -> None:
    result = check(parse({**good, "eval_path": good["train_path"]}))
    assert result.ok and [w.kind for w in result.warnings] == ["same-data"]


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        ({"batch_size": 1, "gradient_accumulation_steps": 4, "num_train_epochs": 3}, 100, (4, 25, 75)),
        ({"batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 1}, 100, (8, 13, 13)),
        ({"batch_size": 4, "gradient_accumulation_steps": 3, "num_train_epochs": 2}, 10, (12, 1, 2)),
        ({"batch_size": 1, "gradient_accumulation_steps": 1, "num_train_epochs": 0.5}, 7, (1, 7, 4)),
        ({"max_steps": 9}, 100, (4, 25, 9)),
        ({}, 0, (4, 0, 0)),
    ],
)
def test_steps(values: dict[str, object], rows: int, expected: tuple[int, int, int]) -> None:
    result = plan(parse({"train_path": "a", "output_dir": "b", **values}), rows)
    assert (result.samples_per_update, result.steps_per_epoch, result.total_steps) == expected


def test_held_out_rows_are_not_trained_on() -> None:
    result = plan(parse({"train_path": "a", "output_dir": "b", "eval_fraction": 0.1, "save_steps": 10}), 101)
    assert (result.train_rows, result.eval_rows, result.total_steps, result.evaluations) == (90, 11, 69, 7)


def test_proposed_directory_is_free(tmp_path: Path) -> None:
    first = propose_output_dir("Qwen/Qwen2.5 7B", tmp_path)
    assert first.name.endswith("-Qwen2.5-7B-1")
    first.mkdir()
    assert propose_output_dir("Qwen/Qwen2.5 7B", tmp_path).name.endswith("-Qwen2.5-7B-2")


def test_a_logout_that_kills_runs_is_said_at_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that ask logind are replaced by ones that answer as they do where user processes are killed."""
    for name, answer in (
        ("busctl", 'case "$*" in *KillUserProcesses*) echo "b true";; *) echo "as 0";; esac'),
        ("loginctl", "echo no"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    preflight._logout_risk.cache_clear()
    config = parse({"train_path": str(write_rows(tmp_path / "t.jsonl")), "output_dir": str(tmp_path / "out"),
                    "base_model": str(fake_model(tmp_path / "model"))})  # fmt: skip
    result = preflight.check(config)
    preflight._logout_risk.cache_clear()
    assert result.ok and ["logout-kills"] == [w.kind for w in result.warnings]
    assert "loginctl enable-linger" in str(result.warnings[0])


def test_a_path_that_cannot_be_recorded_is_refused(good: dict[str, object], tmp_path: Path) -> None:
    assert kinds({**good, "output_dir": os.fsdecode(os.fsencode(tmp_path) + b"/r\xff")}) == [("bad-path", "output_dir")]

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import parse, settings, yaml_file
from engine.data import DataReport
from engine.errors import Problem
from tests.support import fake_model, write_rows
from tui.launch import ladder
from tui.launch.model import FormModel, default_text
from tui.launch.probe import Asked, Probe


@pytest.mark.parametrize(
    ("name", "text", "by", "expected"),
    [
        ("learning_rate", "1e-4", 1, "2e-4"),
        ("learning_rate", "2e-4", 1, "5e-4"),
        ("learning_rate", "0.0001", -1, "5e-5"),
        ("learning_rate", "3e-4", 1, "5e-4"),
        ("learning_rate", "3e-4", -1, "2e-4"),
        ("lora_r", "8", 1, "16"),
        ("lora_r", "16", 1, "32"),
        ("lora_r", "256", 1, None),
        ("lora_r", "4", -1, None),
        ("lora_r", "10000", -1, "256"),
        ("lora_r", "words", 1, "16"),
        ("lora_dropout", "0.05", -1, "0"),
        ("eval_steps", "", 1, "10"),
        ("eval_steps", "10", -1, ""),
        ("eval_steps", "", -1, None),
        ("dtype", "auto", 1, "float32"),
        ("dtype", "float16", 1, "auto"),
        ("dtype", "auto", -1, "float16"),
        ("packing", "auto", 1, "true"),
        ("packing", "false", 1, "auto"),
        ("load_in_4bit", "no", 1, "true"),
        ("gpus", "auto", 1, None),
        ("target_modules", "all-linear", 1, "q_proj,v_proj"),
        ("task_type", "CAUSAL_LM", 1, None),
        ("run_name", "x", 1, None),
    ],
)
def test_steps(name: str, text: str, by: int, expected: str | None) -> None:
    assert ladder.step(settings()[name], text, by) == expected


@pytest.mark.parametrize("info", [i for i in settings().values() if ladder.rounds(i) or i.ladder], ids=lambda i: i.name)
def test_every_step_from_a_default_is_a_valid_value(info) -> None:
    from tui.launch.model import TRUST

    if info.name == TRUST:
        return
    for by in (1, -1):
        model = FormModel({"train_path": "x", "output_dir": "y"})
        stepped = ladder.step(info, model.text(info.name), by)
        if stepped is not None:
            model.set(info.name, stepped)
            found = model.problems.get(info.name)
            assert found is None or found.kind == "contradiction", found


def test_an_empty_form_lacks_only_the_data() -> None:
    model = FormModel()
    assert model.wrong == ["train_path"]
    assert model.problem("train_path").kind == "missing-setting"
    assert model.changed == []
    assert model.text("output_dir").startswith("runs/") and "Qwen2.5-7B-Instruct" in model.text("output_dir")


def test_texts_make_the_configuration_that_they_say() -> None:
    model = FormModel({"train_path": "chats.jsonl"})
    for name, text in {"learning_rate": "2e-4", "lora_r": "32", "packing": "true", "eval_fraction": "0.1",
                       "gpus": "0,1", "target_modules": "q_proj, v_proj"}.items():  # fmt: skip
        model.set(name, text)
    config = model.config
    assert config is not None
    assert (config.learning_rate, config.lora_r, config.packing, config.eval_fraction) == (2e-4, 32, True, 0.1)
    assert (config.gpus, config.target_modules) == ([0, 1], ["q_proj", "v_proj"])
    assert model.gpu_count == 2


def test_wrong_texts_are_explained_and_keep_the_configuration_away() -> None:
    model = FormModel({"train_path": "x"})
    model.set("lora_r", "many")
    assert model.config is None
    assert model.wrong == ["lora_r"] and "whole number" in model.problem("lora_r").message
    model.set("lora_r", "")
    assert model.wrong == ["lora_r"]
    model.set("lora_r", "8")
    assert model.wrong == []


def test_the_output_directory_follows_the_model_until_it_is_edited() -> None:
    model = FormModel()
    model.set("base_model", "org/Other-1B")
    model.settle()
    assert "Other-1B" in model.text("output_dir")
    model.set("output_dir", "mine")
    model.set("base_model", "org/Third-2B")
    model.settle()
    assert model.text("output_dir") == "mine"
    model.set("output_dir", "")
    model.settle()
    assert "Third-2B" in model.text("output_dir"), "an emptied one is proposed again"


def test_changed_means_another_value_not_another_spelling() -> None:
    model = FormModel()
    model.set("learning_rate", "0.0001")
    model.set("load_in_4bit", "no")
    assert model.changed == []
    model.set("learning_rate", "0.0002")
    assert model.changed == ["learning_rate"]


def test_trust_is_only_asked_for() -> None:
    for value in (True, "true", "yes", "1"):
        model = FormModel({"trust_remote_code": value, "train_path": "x"})
        assert model.asks_consent and model.config is not None and model.config.trust_remote_code is False
    model = FormModel({"train_path": "x"})
    model.set("trust_remote_code", "true")
    assert model.asks_consent and model.text("trust_remote_code") == "false"
    model.grant()
    assert model.config is not None and model.config.trust_remote_code is True
    model.set("base_model", "somebody/else")
    assert model.settle(), "consent was for the other model"
    assert model.config is not None and model.config.trust_remote_code is False


def test_trust_is_in_one_code_of_one_revision() -> None:
    model = FormModel({"train_path": "x", "base_model": "org/name"})
    model.grant("abc")
    assert not model.settle() and not model.code_seen("abc")
    kept = model.draft
    model.set("revision", "other")
    assert model.settle() and model.text("trust_remote_code") == "false"
    model.restore(kept)
    assert model.text("trust_remote_code") == "true", "an undo brings the consent back with the model it was for"
    assert model.code_seen("abd") and model.text("trust_remote_code") == "false"
    model.grant("")
    assert not model.code_seen("") and model.code_seen("new"), "code that came later is code nobody has agreed to"


def test_unknown_names_are_left_out_and_said() -> None:
    model = FormModel({"lora_r": 8, "lr": 1, "\x1b[31m": 2})
    assert model.text("lora_r") == "8" and model.unknown == ["lr", "\x1b[31m"]


def test_undo_goes_back_and_forth() -> None:
    model = FormModel()
    assert not model.undo()
    model.set("lora_r", "8")
    model.load({"lora_r": 64, "use_rslora": True})
    assert model.undo() and model.text("lora_r") == "8"
    assert model.undo() and model.text("lora_r") == "64"
    model.clear()
    assert model.changed == [] and model.undo() and model.text("use_rslora") == "true"


def test_what_a_run_did_not_tell_is_marked_until_somebody_decides() -> None:
    model = FormModel(
        {"lora_r": 8}, untold=["learning_rate", "seed", "no_setting"], remarks=["seed: -1 is wrong", "odd"]
    )
    assert model.untold == {"learning_rate", "seed"} and model.remarks == {"seed": "-1 is wrong"}
    model.set("learning_rate", model.text("learning_rate"))
    assert model.untold == {"seed"}, "typing the default is a decision, too"
    model.load({"seed": 1})
    assert not model.untold and model.undo() and model.untold == {"seed"}, "a preset decides; undone, it did not"
    draft = model.draft
    model.clear()
    assert not model.untold
    model.resume(draft)
    assert model.untold == {"seed"}


def report(rows: int, unanswered: int = 0) -> DataReport:
    return DataReport(Path("x"), rows=rows, usable=rows - unanswered, unanswered=unanswered)


def test_the_plan_needs_data_and_right_numbers() -> None:
    model = FormModel({"batch_size": 2, "gradient_accumulation_steps": 4, "num_train_epochs": 2})
    assert model.plan is None
    model.train = report(80)
    assert model.plan.samples_per_update == 8 and model.plan.total_steps == 20, "though train_path is missing"
    model.set("gpus", "0,1")
    assert model.plan.samples_per_update == 16
    model.set("batch_size", "x")
    assert model.plan is None, "no number is better than a wrong one"
    model.set("batch_size", "2")
    model.set("lora_r", "x")
    assert model.plan is not None, "the rank does not count"


def test_rows_that_teach_nothing_are_not_counted() -> None:
    model = FormModel({"train_path": "x"})
    model.train = report(10, unanswered=4)
    assert model.plan.train_rows == 6
    model.set("assistant_only_loss", "false")
    assert model.plan.train_rows == 10


def test_views_show_what_matters() -> None:
    model = FormModel({"warmup_ratio": 0.1})

    def names(view: str) -> list[str]:
        return [info.name for _, infos in model.visible(view) for info in infos]

    assert set(names("all")) == set(settings())
    basic = {n for n, i in settings().items() if i.basic}
    assert set(names("basic")) == basic | {"warmup_ratio"}
    assert set(names("changed")) == {"train_path", "output_dir", "warmup_ratio"}
    model.set("adam_beta1", "7")
    assert "adam_beta1" in names("basic"), "what is wrong is always in sight"


@pytest.mark.parametrize("only_changed", [False, True])
def test_yaml_starts_the_same_run(tmp_path: Path, only_changed: bool) -> None:
    model = FormModel({"train_path": "/데이터/한국어 대화.jsonl", "learning_rate": 2e-4, "gpus": [0, 1]})
    file = tmp_path / "run.yaml"
    file.write_text(model.yaml(only_changed=only_changed), encoding="utf-8")
    values = yaml_file.load(file)
    assert parse(values) == model.config
    assert ("seed" in values) is not only_changed
    assert FormModel(values).config == model.config


def test_yaml_of_an_unfinished_form_keeps_what_was_typed(tmp_path: Path) -> None:
    model = FormModel({"learning_rate": "2e-4", "lora_r": "many"})
    file = tmp_path / "run.yaml"
    file.write_text(model.yaml(), encoding="utf-8")
    again = FormModel(yaml_file.load(file))
    assert (again.text("learning_rate"), again.text("lora_r")) == ("2e-4", "many")


def test_default_texts_are_the_defaults() -> None:
    texts = {name: default_text(info) for name, info in settings().items()}
    assert texts["learning_rate"] == "1e-4" and texts["eval_path"] == "" and texts["packing"] == "auto"


def look(**values: str) -> dict[str, Problem]:
    asked = {"base_model": "org/hub-id", "train_path": "", "eval_path": "", "output_dir": "", **values}
    return Probe(lambda found: None).look(Asked(**asked)).problems


def test_files_behind_the_form(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "train.jsonl")
    assert look(train_path=str(data)) == {}
    assert "does not exist" in look(train_path=str(tmp_path / "none"))["train_path"].message
    assert "directory" in look(eval_path=str(tmp_path))["eval_path"].message
    bad = write_rows(tmp_path / "bad.jsonl", [{"messages": 1}, {"text": "x"}])
    problem = look(train_path=str(bad))["train_path"]
    assert problem.line == 1 and "2 rows cannot be used" in problem.message
    assert "does not exist" in look(base_model=str(tmp_path / "none"))["base_model"].message
    assert look(base_model=str(fake_model(tmp_path / "model"))) == {}
    found = look(base_model=str(tmp_path / "model"), target_modules="q_proj,none_proj")
    assert "none_proj" in found["target_modules"].message
    assert "is a file" in look(output_dir=str(data))["output_dir"].message
    assert look(output_dir=str(tmp_path / "new")) == {}


def test_impossible_paths_are_problems_not_crashes() -> None:
    for text in ("a\0b", "x" * 5000, "~nobody-of-this-name/x"):
        assert set(look(train_path=text, output_dir=text)) >= {"train_path"}

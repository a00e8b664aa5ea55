"""The prompts that the model answers: how they are typed, where they are read, what is refused."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from engine import prompts
from engine.config import flags, parse, yaml_file
from engine.errors import InputError

NEEDED = {"train_path": "a", "output_dir": "b"}
HARD = [
    ["Write, please: a | b", "one\ntwo"],
    ["Hi", "Bye"],
    ["[not JSON", "x"],
    ['["a"]'],
    ["None"],
    ["a,b"],
    ["안녕, 데크"],
    ["|"],
]


def from_flags(*words: str) -> list[str] | None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_flags(parser)
    return parse({**NEEDED, **flags.values_from(parser.parse_args(words))}).sample_prompts


@pytest.mark.parametrize("texts", HARD)
def test_any_prompt_survives_command_line_form_and_yaml(texts: list[str], tmp_path: Path) -> None:
    config = parse({**NEEDED, "sample_prompts": texts})
    assert config.sample_prompts == texts
    assert from_flags(*shlex.split(flags.command_line(config))[2:]) == texts
    assert parse({**NEEDED, "sample_prompts": flags.format_value(texts, "texts")}).sample_prompts == texts
    (tmp_path / "run.yaml").write_text(yaml_file.dumps(config), encoding="utf-8")
    assert parse(yaml_file.load(tmp_path / "run.yaml")) == config


def test_prompts_are_read_as_people_type_them() -> None:
    assert from_flags("--sample_prompts", "Hello, you") == ["Hello, you"]
    assert from_flags("--sample-prompts", "Hello, you", "--sample_prompts", "A | B") == ["Hello, you", "A", "B"]
    assert from_flags("--sample_prompts", "none") is None
    assert parse({**NEEDED, "sample_prompts": [" ", "x "]}).sample_prompts == ["x"]
    with pytest.raises(InputError, match="sample_prompts: must be texts"):
        parse({**NEEDED, "sample_prompts": [1, 2]})


def test_a_file_holds_a_prompt_a_line(tmp_path: Path) -> None:
    text, rows = tmp_path / "p.txt", tmp_path / "p.jsonl"
    text.write_text("Who?\n\n  Why, then? \n", encoding="utf-8")
    assert [prompt.text for prompt in prompts.load([str(text)])] == ["Who?", "Why, then?"]
    rows.write_text(
        '{"prompt": "a\\nb"}\n{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}, '
        '{"role": "assistant", "content": "answer"}]}\n',
        encoding="utf-8",
    )
    first, second = prompts.load([str(rows)])
    assert first.messages == [{"role": "user", "content": "a\nb"}]
    assert second.text == "system: S\nuser: U" and [m["role"] for m in second.messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.txt", None, "gone.txt: does not exist"),
        ("p.txt", "\n \n", "p.txt:1: holds no prompts"),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": \n', "p.jsonl:2: broken JSON"),
        ("p.jsonl", '{"text": "a"}\n', "p.jsonl:1: has neither a prompt nor messages"),
        ("p.jsonl", '{"messages": [{"role": "assistant", "content": "a"}]}', "p.jsonl:1: has no message to answer"),
        ("p.jsonl", '{"messages": [{"role": "gpt", "content": "a"}]}', "p.jsonl:1: message 1 has no role"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, name: str, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    errors, warnings = prompts.check([str(tmp_path / name)])
    assert len(errors) == 1 and words in str(errors[0]) and not warnings
    assert errors[0].setting == "sample_prompts"


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"fine\n\xff\xfe\n")
    assert "p.txt:2: is not UTF-8" in str(prompts.check([str(tmp_path / "p.txt")])[0][0])


def test_many_prompts_are_cut_with_a_warning() -> None:
    errors, warnings = prompts.check([f"prompt {i}" for i in range(40)])
    assert not errors and "only the first 32" in warnings[0].message
    assert len(prompts.load([f"prompt {i}" for i in range(40)])) == 32


def test_preflight_refuses_before_anything_starts(tmp_path: Path) -> None:
    from engine.paths import sample_data_dir
    from engine.preflight import check

    sample = sample_data_dir()
    config = parse({"base_model": str(sample / "tiny-qwen2"), "train_path": str(sample / "train.jsonl"),
                    "output_dir": str(tmp_path / "o"), "sample_prompts": str(tmp_path / "no.txt")})  # fmt: skip
    found = check(config)
    assert not found.ok and [problem.setting for problem in found.errors] == ["sample_prompts"]


def test_a_file_beside_the_yaml_is_found(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Who?")
    (tmp_path / "Who").write_text("a file that is no prompt's")
    (tmp_path / "a.yaml").write_text("sample_prompts: p.txt\n")
    (tmp_path / "b.yaml").write_text("sample_prompts: Who\n")
    assert yaml_file.load(tmp_path / "a.yaml") == {"sample_prompts": str(tmp_path / "p.txt")}
    assert yaml_file.load(tmp_path / "b.yaml") == {"sample_prompts": "Who"}

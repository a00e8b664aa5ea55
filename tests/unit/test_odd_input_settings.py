"""Settings that nobody means, and files of settings that are none: refused with the setting, or the file and its line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import hardware, paths
from engine.cli import main
from engine.config import check, parse, yaml_file
from engine.errors import InputError, Problem
from engine.preflight import checks

SAMPLE = paths.sample_data_dir()
WHOLE = {"base_model": str(SAMPLE / "tiny-qwen2"), "train_path": str(SAMPLE / "train.jsonl"), "output_dir": "out"}


@pytest.mark.parametrize(
    ("settings", "setting", "says"),
    [
        ({"run_name": os.fsdecode(b"x\xff")}, "run_name", "half of a character"),
        ({"on_end": os.fsdecode(b"x\xff")}, "on_end", "half of a character"),
        ({"revision": os.fsdecode(b"x\xff")}, "revision", "half of a character"),
        ({"target_modules": os.fsdecode(b"x\xff")}, "target_modules", "half of a character"),
        ({"sample_prompts": os.fsdecode(b"x\xff")}, "sample_prompts", "half of a character"),
        ({"chat_template_path": os.fsdecode(b"x\xff")}, "chat_template_path", "half of a character"),
        ({"output_dir": "a\0b"}, "output_dir", "zero byte"),
        ({"base_model": "a\0b"}, "base_model", "zero byte"),
        ({"on_end": "a\0b"}, "on_end", "zero byte"),
        ({"learning_rate": "1e-320"}, "learning_rate", "float32"),
        ({"adam_epsilon": 1e-39}, "adam_epsilon", "float32"),
        ({"modules_to_save": "lm_head,q_proj"}, "modules_to_save", "names q_proj, which target_modules"),
        ({"init_lora_weights": "orthogonal", "lora_r": 15}, "lora_r", "must be even"),
        ({"lr_scheduler_type": "polynomial", "learning_rate": 1e-7}, "learning_rate", "above 1e-07"),
        ({"report_to": "none,wandb"}, "report_to", "beside all or none"),
        ({"report_to": "all,wandb"}, "report_to", "beside all or none"),
        ({"gpus": [True]}, "gpus", "must be auto or GPU indices"),
        ({"gpus": "²"}, "gpus", "must be auto or GPU indices"),
        ({"gpus": "9" * 5000}, "gpus", "must be auto or GPU indices"),
    ],
)
def test_settings_that_can_be_nothing(settings: dict[str, Any], setting: str, says: str) -> None:
    _, problems = check({**WHOLE, **settings})
    assert [problem.setting for problem in problems] == [setting] and says in problems[0].message, problems
    json.dumps([problem.as_dict() for problem in problems]).encode()


@pytest.mark.parametrize(
    "settings",
    [
        {"modules_to_save": "q_proj", "target_modules": "all-linear"}, {"modules_to_save": "lm_head"}, {"report_to": "all"},
        {"report_to": "none,none"}, {"init_lora_weights": "orthogonal", "lora_r": 16}, {"gpus": "0, 1"}, {"gpus": 0},
        {"lr_scheduler_type": "polynomial", "learning_rate": 1e-6}, {"weight_decay": 0}, {"adam_epsilon": 1e-30},
    ],
)  # fmt: skip
def test_settings_that_are_only_unusual(settings: dict[str, Any]) -> None:
    assert check({**WHOLE, **settings})[1] == []


def environment(**settings: Any) -> list[Problem]:
    return checks._check_environment(parse({**WHOLE, **settings}))


@pytest.mark.parametrize(
    ("settings", "package"),
    [
        ({"report_to": "wandb"}, "wandb"), ({"report_to": "tensorboard"}, "tensorboard"), ({"report_to": "flyte"}, "flytekit"),
        ({"attn_implementation": "flash_attention_3"}, "flash_attn_interface"),
        ({"attn_implementation": "flash_attention_2"}, "flash_attn"),
    ],
)  # fmt: skip
def test_what_is_not_installed(settings: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would load the model first, and then end."""
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    found = environment(**settings)
    assert [(p.kind, p.setting) for p in found] == [("missing-package", next(iter(settings)))]
    assert f"needs the package {package}," in found[0].message and found[0].hint
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: object() if name == package else None)
    assert environment(**settings) == [] and environment(report_to="none") == []


def test_flex_attention_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.hardware, "gpus", list)
    assert [p.setting for p in environment(attn_implementation="flex_attention")] == ["attn_implementation"]
    monkeypatch.setattr(checks.hardware, "gpus", lambda: [hardware.Gpu(0, "A card", 0, 2**30)])
    assert environment(attn_implementation="flex_attention") == []


def test_the_root_of_everything_is_no_place_for_a_run() -> None:
    found = checks._check_output(parse({**WHOLE, "output_dir": "/"}))
    assert [(p.kind, p.setting) for p in found] == [("bad-output", "output_dir")]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (b"lora_r: 8\nlora_r: 16\n", 2, "names lora_r twice"),
        (b"seed: 1\nrun_name: a\0b\n", 2, "control character"),
        (b"seed: 1\n\nrun_name: 2020-13-45\n", 3, "cannot be read as a value"),
        (b"seed: 1\nmax_steps: " + b"9" * 5000 + b"\n", 2, "cannot be read as a value"),
        (b"seed: !!bool perhaps\n", 1, "cannot be read as a value"),
        (b"seed: 1\nrun_name: \xe9\n", 2, "UTF-8"),
        (b"- a\n", 1, "setting: value"),
        (b"run_name: '" + b"a" * 1_200_000 + b"'\n", None, "too large"),
    ],
)
def test_files_of_settings_that_are_none(tmp_path: Path, text: bytes, line: int | None, says: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(text)
    with pytest.raises(InputError) as refused:
        yaml_file.load(file)
    problem = refused.value.problems[0]
    assert (problem.file, problem.line) == (str(file), line) and says in problem.message and problem.hint


@pytest.fixture
def soon() -> Iterator[None]:
    """Whoever waits for a pipe is told so, and does not wait for ever."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "/dev/null", ".", "a\0b", "none.yaml", "loop"])
def test_what_is_no_file_is_not_read(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to has no beginning, and a device no end."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    with pytest.raises(InputError) as refused:
        yaml_file.load(Path(place))
    assert refused.value.problems[0].file == place and refused.value.problems[0].hint


def test_what_a_shell_puts_in_place_of_a_command_is_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"\xef\xbb\xbflora_r: 8\n")
    os.close(writer)
    assert yaml_file.load(Path(f"/proc/self/fd/{reader}")) == {"lora_r": 8}
    os.close(reader)


def test_lists_within_lists_end(tmp_path: Path) -> None:
    deep = "".join(
        f"{name}: &{name} [{', '.join([inner] * 9)}]\n"
        for name, inner in zip("bcdefgh", ["x", *(f"*{c}" for c in "bcdefg")], strict=True)
    )
    (tmp_path / "a.yaml").write_text(f"{deep}train_path: *h\n")
    (tmp_path / "b.yaml").write_text("train_path: &a [*a]\n")
    for name in ("a", "b"):
        _, problems = check({**WHOLE, **yaml_file.load(tmp_path / f"{name}.yaml")})
        assert "train_path" in [problem.setting for problem in problems]


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["--lora_r"], "lora_r"), (["--lora-r", "--seed", "1"], "lora_r"), (["--learning_rate", "-1e-4"], "learning_rate"),
        (["--config"], "config"), (["--dry_run=5"], "dry_run"), (["rows.jsonl"], "rows.jsonl"), (["-r", "8"], "-r"), (["--=5"], "''"),
        (["--"], "''"), (["-"], "-"), (["--lora_rank", "8"], "lora_rank"), ([os.fsdecode(b"--x\xff=1")], "x\N{REPLACEMENT CHARACTER}"),
    ],
)  # fmt: skip
def test_a_command_line_that_is_none_says_where(
    words: list[str], setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["preflight", *words, "--json"]) == 2
    out = capsys.readouterr()
    found = json.loads(out.out)["errors"]
    assert found[0]["setting"] == setting and found[0]["hint"] and "Traceback" not in out.err


def test_names_that_are_no_settings_are_told_in_a_few_lines() -> None:
    _, problems = check({**WHOLE, **{f"k{number}": 1 for number in range(5000)}, "": 1})
    assert len(problems) == 21 and "5,001 names are no settings" in problems[-1].message
    for name in ("", " ", "\x1b[2J"):
        assert [problem.setting for problem in check({**WHOLE, name: 1})[1]] == [ascii(name)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/bin/true", "no Python interpreter"), ("/bin/false", "no Python interpreter"), ("/bin/ls", "no Python interpreter"), ("hello\n", "cannot be started"), ("#!/bin/sh\nexec sleep 60\n", "does not answer"),
        ("#!/bin/sh\necho tunedeck-asks torch trl\n", "lacks what training needs: torch, trl"),
        ("#!/bin/sh\necho hello\n", "no Python interpreter"),
    ],
)  # fmt: skip
def test_programs_that_are_no_python(tmp_path: Path, text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_PYTHON_SECONDS", 1)
    file = tmp_path / "python"
    if text.startswith("/"):
        file.symlink_to(text)
    else:
        file.write_text(text)
        file.chmod(0o755)
    found = environment(worker_python=str(file))
    assert [(p.kind, p.setting, p.file) for p in found] == [("bad-python", "worker_python", str(file))]
    assert says in found[0].message and found[0].hint
    file.unlink()
    file.write_text("#!/bin/sh\necho tunedeck-asks\n")
    file.chmod(0o755)
    assert environment(worker_python=str(file)) == []

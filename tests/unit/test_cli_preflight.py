"""``tunedeck preflight``: one strict JSON document, a sheet for people, exit codes, and bad input of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import hardware, paths
from engine.cli import main
from engine.config import parse
from engine.hardware import Gpu
from engine.inspecting import InspectError, Inspector
from engine.preflight import Preflight, check, counting
from engine.preflight.sheet import Sheet, sheet, tokens_of
from tests.families import templates, tokenizer
from tests.support import fake_model, write_rows

SAMPLE = paths.sample_data_dir()
KEYS = ["ok", "errors", "warnings", "format", "rows", "usable_rows", "tokens", "truncated_rows", "max_length_suggested", "steps",
        "samples_per_update", "trainable_parameters", "memory", "disk", "seconds", "time_from", "dry_run"]  # fmt: skip


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    asked = Inspector()
    yield asked
    asked.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(counting, "_counts", OrderedDict())


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, Any]:
    return {"base_model": SAMPLE / "tiny-qwen2", "train_path": SAMPLE / "train.jsonl", "output_dir": tmp_path / "out"}


def words(values: dict[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name}", str(value))]


def document(text: str) -> dict[str, Any]:
    def refuse(word: str) -> None:
        raise AssertionError(f"not strict JSON: {word}")

    found: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert list(found) == KEYS and found["ok"] == (not found["errors"])
    for problem in (*found["errors"], *found["warnings"]):
        assert {"kind", "message", "hint"} <= set(problem) <= {"kind", "message", "hint", "file", "line", "setting"}
    return found


def of(inspector: Any, flags: dict[str, Any], **more: Any) -> Sheet:
    return sheet(parse({name: str(value) for name, value in {**flags, **more}.items()}), inspector)


def test_the_document_of_a_good_run(flags: dict[str, Any], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tui", "preflight", *words(flags), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    found = document(result.stdout)
    assert found["rows"] == found["usable_rows"] == 400 and found["truncated_rows"] == 0 and found["errors"] == []
    assert found["steps"] == 300 and found["samples_per_update"] == 4 and found["trainable_parameters"] == 217_088
    assert found["tokens"] > 50_000 and found["max_length_suggested"] == 512 and "JSONL" in found["format"]
    parts = {name: size for name, size in found["memory"].items() if name not in ("total", "free", "fixes")}
    assert sum(parts.values()) == found["memory"]["total"] and found["disk"]["count"] == 3
    assert not (tmp_path / "out").exists()


def test_settings_from_a_file(flags: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(
        "".join(f"{name}: {value}\n" for name, value in flags.items()) + "max_steps: 7\n"
    )
    assert (
        main(["preflight", "--config", str(tmp_path / "run.yaml"), "--batch-size", "2", "--max_seq_length", "100"]) == 0
    )
    out = capsys.readouterr()
    assert "7 of 8 samples each" in out.out and "217,088 parameters" in out.out and "The run may start." in out.out
    assert "warning: max_seq_length: cuts off" in out.err and "error" not in out.err
    assert "by estimate" in out.out and "#" in out.out and max(map(len, out.out.splitlines())) < 250


@pytest.mark.parametrize(
    ("change", "kind", "where"),
    [
        ({"lora_r": "0"}, "bad-setting", "lora_r"),
        ({"learning_rate": "nan"}, "bad-setting", "learning_rate"),
        ({"lr": "1"}, "unknown-setting", "lr"),
        ({"train_path": "/no/such"}, "missing-file", "train_path"),
        ({"base_model": "/no/such"}, "bad-model", "base_model"),
        ({"base_model": "a b c"}, "bad-model", "base_model"),
        ({"config": "/no/such.yaml"}, "", None),
        ({"eval_path": "/no/such"}, "missing-file", "eval_path"),
        ({"output_dir": "/proc/x"}, "bad-output", "output_dir"),
        ({"target_modules": "nothing_such"}, "unknown-target", "target_modules"),
    ],
)
def test_bad_input_is_a_document_too(flags: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                     change: dict[str, Any], kind: str, where: str | None) -> None:  # fmt: skip
    monkeypatch.setattr(Inspector, "ask", _refuse)
    assert main(["preflight", *words({**flags, **change}), "--json"]) == 2
    out = capsys.readouterr()
    found = document(out.out)
    assert found["errors"] and "Traceback" not in out.err
    assert not kind or (kind, where) in [(p["kind"], p.get("setting")) for p in found["errors"]]
    assert found["usable_rows"] is found["memory"] is found["seconds"] is None
    assert main(["preflight", *words({**flags, **change})]) == 2
    assert "error" in capsys.readouterr().err


def _refuse(*args: Any, **fields: Any) -> Any:
    raise InspectError([_problem("no-inspector")])


def _problem(kind: str) -> Any:
    from engine.errors import Problem

    return Problem(kind, "says no", "")


def test_bad_rows_are_named_by_line(flags: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 3)
    rows.write_text(rows.read_text() + '{"messages": 3}\n')
    assert main(["preflight", *words({**flags, "train_path": rows}), "--json"]) == 2
    found = document(capsys.readouterr().out)
    assert [(p["file"], p["line"]) for p in found["errors"]] == [(str(rows), 4)] and found["rows"] == 4


def test_usage_is_refused_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "what"]) == 2
    assert "tunedeck preflight: what is 'what'?" in capsys.readouterr().err
    for wrong in ("what", "--lora_r", "--"):
        assert main(["preflight", "--json", *(["--", "x"] if wrong == "--" else [wrong])]) == 2
        out = capsys.readouterr()
        found = document(out.out)
        assert not found["ok"] and found["errors"][0]["hint"] and out.err == "", wrong
    with pytest.raises(SystemExit) as caught:
        main(["preflight", "--lora_r"])
    assert caught.value.code == 2 and "--lora_r" in capsys.readouterr().err


def test_what_could_not_be_asked_is_unknown_and_no_error(flags: dict[str, Any]) -> None:
    class Silent:
        def ask(self, what: str, *args: Any, **fields: Any) -> dict[str, Any]:
            raise InspectError(_problem("timeout"))

    found = of(Silent(), flags)
    assert found.ok and found.lengths is found.costs is found.memory is found.disk is None
    assert [p.kind for p in found.warnings if p.kind == "timeout"] == ["timeout"] and found.plan is not None


def test_a_model_that_only_looks_like_one_is_refused(
    inspector: Inspector, flags: dict[str, Any], tmp_path: Path
) -> None:
    found = of(inspector, flags, base_model=fake_model(tmp_path / "fake"))
    assert (
        not found.ok and {p.setting for p in found.errors} == {"base_model"} and found.as_dict()["usable_rows"] is None
    )


def test_a_template_under_which_nothing_can_be_told_apart(
    inspector: Inspector, flags: dict[str, Any], tmp_path: Path
) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(SAMPLE / "tiny-qwen2", model)
    tokenizer("smollm2", templates.COUNTED).save_pretrained(model)
    found = of(inspector, flags, base_model=model)
    assert [(p.kind, p.setting) for p in found.errors] == [
        ("cannot-mark", "assistant_only_loss")
    ] and found.lengths is None
    whole = of(inspector, flags, base_model=model, assistant_only_loss=False)
    assert whole.ok and whole.lengths is not None and whole.lengths.usable == 400


def test_rows_that_are_cut_before_anything_is_learned(inspector: Inspector, flags: dict[str, Any]) -> None:
    some = of(inspector, flags, max_seq_length=64)
    assert some.ok and {"rows-lost", "truncated"} <= {p.kind for p in some.warnings}
    assert some.plan is not None and some.lengths is not None and some.plan.train_rows == some.lengths.usable < 400
    none = of(inspector, flags, max_seq_length=8)
    assert [(p.kind, p.setting) for p in none.errors] == [("nothing-left", "max_seq_length")]
    assert none.as_dict()["usable_rows"] == 0


def test_a_card_that_is_too_small(inspector: Inspector, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpus", lambda: [Gpu(0, "Small", 0, 800 * 2**20, capability=(9, 0))])
    found = of(inspector, flags, batch_size=64, gradient_checkpointing=False, recipe="plain")
    assert found.ok and found.memory is not None and found.memory.total > 800 * 2**20 and found.fixes
    (said,) = [p for p in found.warnings if p.kind == "memory"]
    assert "by estimate" in said.message and said.setting == "batch_size" and "gradient_accumulation_steps" in said.hint
    told = found.as_dict()["memory"]
    assert told["free"] == 800 * 2**20 and told["fixes"] == found.fixes
    assert all(fix["total"] <= told["free"] for fix in found.fixes)


def test_packed_rows_make_fewer_steps(inspector: Inspector, flags: dict[str, Any]) -> None:
    plain, packed = of(inspector, flags), of(inspector, flags, packing=True)
    assert plain.plan is not None and packed.plan is not None and packed.lengths is not None
    assert packed.plan.train_rows == packed.lengths.packed == -(-packed.lengths.tokens // 2048)
    assert packed.plan.total_steps < plain.plan.total_steps and packed.lengths.padding == 0.0


def test_tokens_of_a_run(inspector: Inspector, flags: dict[str, Any]) -> None:
    found = of(inspector, flags, max_steps=10)
    assert found.plan is not None and found.lengths is not None and found.config is not None
    each = found.lengths.kept / 400
    assert tokens_of(found.config.model_dump(), found.plan, found.lengths) == round(40 * each)
    values = {**found.config.model_dump(), "max_steps": None, "num_train_epochs": 2.0}
    assert tokens_of(values, found.plan, found.lengths) == 2 * found.lengths.kept


def test_the_light_checks_are_not_done_twice(
    inspector: Inspector, flags: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse({name: str(value) for name, value in flags.items()})
    checked = check(config)
    monkeypatch.setattr("engine.preflight.checks.check", lambda *args, **more: pytest.fail("was checked again"))
    assert isinstance(checked, Preflight) and sheet(config, inspector, checked=checked).ok


def test_rows_that_the_template_refuses(inspector: Inspector, flags: dict[str, Any], tmp_path: Path) -> None:
    import shutil

    model = tmp_path / "model"
    shutil.copytree(SAMPLE / "tiny-qwen2", model)
    strict = "{% for m in messages %}{% if m['content'] == 'no' %}{{ raise_exception('not this') }}{% endif %}" + (
        "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}")  # fmt: skip
    (model / "chat_template.jinja").write_text(strict)
    chats = [
        {"messages": [{"role": "user", "content": said}, {"role": "assistant", "content": "well"}]}
        for said in ("a", "no", "b")
    ]
    rows = write_rows(tmp_path / "rows.jsonl", chats)
    found = of(inspector, flags, base_model=model, train_path=rows)
    assert [(p.kind, p.file, p.line, p.setting) for p in found.errors] == [
        ("cannot-render", str(rows), 2, "train_path")
    ]
    assert "not this" in found.errors[0].message and found.as_dict()["usable_rows"] == 2
    evaluated = of(inspector, flags, base_model=model, eval_path=rows)
    assert [(p.kind, p.line, p.setting) for p in evaluated.errors] == [("cannot-render", 2, "eval_path")]
    skipped = of(inspector, flags, base_model=model, train_path=rows, on_bad_rows="skip")
    assert skipped.ok and "cannot-render" in {p.kind for p in skipped.warnings}
    assert skipped.plan is not None and skipped.plan.train_rows == 2


class Slow:
    """An inspector that never answers in time."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def ask(self, what: str, timeout: float = 60.0, cancelled: Any = None, **fields: Any) -> dict[str, Any]:
        self.asked.append(timeout)
        time.sleep(timeout)
        raise InspectError(_problem("timeout"))


def test_a_slow_inspector_holds_nothing_up(flags: dict[str, Any]) -> None:
    slow, begun = Slow(), time.monotonic()
    found = sheet(parse({name: str(value) for name, value in flags.items()}), slow, sample=True, limit=0.5)  # type: ignore[arg-type]
    assert time.monotonic() - begun < 3 and sum(slow.asked) <= 0.6
    (said,) = [p for p in found.warnings if p.kind == "timeout"]
    assert found.ok and found.plan is not None and "could not be checked within 0.5 s" in said.message


HANGS = """#!{python}
import os, sys, time
if "engine.worker.inspect" in sys.argv:
    time.sleep(60)
os.execv({fake!r}, [{fake!r}, *sys.argv[1:]])
"""


def train(tmp_path: Path, flags: dict[str, Any], *more: str, hangs: bool = False) -> int:
    from tests.support import fake_python

    fake = fake_python(tmp_path / "fake", "step(1, 1)\nevents.write('state', state='completed', reason='')")
    if hangs:
        (tmp_path / "hangs").write_text(HANGS.format(python=sys.executable, fake=str(fake)))
        (tmp_path / "hangs").chmod(0o755)
    worker = tmp_path / "hangs" if hangs else fake
    return main(["train", *words({**flags, "worker_python": worker}), *more])


def test_train_goes_on_where_the_inspector_hangs(flags: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("engine.cli.train.SHEET_SECONDS", 0.5)
    monkeypatch.setattr("engine.inspecting._GRACE_SECONDS", 0.2)
    begun = time.monotonic()
    assert train(tmp_path, flags, hangs=True) == 0 and time.monotonic() - begun < 10
    out = capsys.readouterr()
    assert "warning: tokens and memory could not be checked" in out.err and "completed" in out.out


def test_train_prints_a_short_sheet_before_it_starts(
    inspector: Inspector,
    flags: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.cli.train.inspector_of", lambda config: _Kept(inspector))
    assert train(tmp_path, {**flags, "max_seq_length": 200}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["Data", "Usable", "Steps", "Memory"] and lines[5].startswith(
        "Run 2"
    )
    assert "of 400 rows" in lines[1] and "cut off at 200 tokens" in lines[1] and "of 4 samples each" in lines[2]
    assert "by estimate" in lines[3] and lines[4].startswith("Time: ")
    assert train(tmp_path, {**flags, "output_dir": tmp_path / "other"}, "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "completed"


def test_train_refuses_what_the_sheet_finds(
    inspector: Inspector,
    flags: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.cli.train.inspector_of", lambda config: _Kept(inspector))
    import shutil

    model = tmp_path / "model"
    shutil.copytree(SAMPLE / "tiny-qwen2", model)
    strict = "{% if messages|length > 2 %}{{ raise_exception('too many') }}{% endif %}"
    (model / "chat_template.jinja").write_text(strict + (model / "chat_template.jinja").read_text())
    rows = write_rows(tmp_path / "rows.jsonl", 2)
    rows.write_text(
        rows.read_text()
        + json.dumps({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2})
    )
    assert train(tmp_path, {**flags, "base_model": model, "train_path": rows}) == 2
    out = capsys.readouterr()
    assert (
        f"error: {rows}:3: the chat template cannot render it: too many" in out.err
        and out.out == ""
        and not (tmp_path / "out").exists()
    )


class _Kept:
    """An inspector that is used again after this."""

    def __init__(self, inspector: Inspector) -> None:
        self.ask = inspector.ask

    def warm(self, config: Any) -> None:
        pass

    def close(self) -> None:
        pass

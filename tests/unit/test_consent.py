"""Code of a model runs only after consent to exactly that code."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.cli.consenting import ask_consent
from engine.config import RunConfig, parse
from engine.errors import InputError
from engine.launchers import launch
from engine.models import cache, hub
from engine.models.consent import Code, agree, agreed, code_of, pinned, problem, trusted
from engine.preflight import check
from engine.worker.failure import CannotTrain
from engine.worker.owncode import verify_code
from tests.hub import serving
from tests.support import ended, fake_model, fake_python, write_rows
from tests.unit.test_models_hub import CODE, OWN, repository

Given = dict[str, Any]


def own_model(folder: Path, **config: Any) -> Path:
    """A directory whose model type nobody knows, with the code for it."""
    fake_model(folder)
    (folder / "config.json").write_text(json.dumps({**OWN, **config}))
    for name, text in CODE.items():
        (folder / name).write_bytes(text)
    return folder


@pytest.fixture
def given(tmp_path: Path) -> Given:
    return {"base_model": str(own_model(tmp_path / "own")), "train_path": str(write_rows(tmp_path / "t.jsonl", 10)),
            "output_dir": str(tmp_path / "out"), "trust_remote_code": True}  # fmt: skip


def config_of(given: Given, **more: Any) -> RunConfig:
    return parse({**given, **more})


def there(given: Given, revision: str | None = None) -> Code:
    found = code_of(str(given["base_model"]), revision)
    assert found is not None
    return found


def errors(given: Given, **more: Any) -> list[str]:
    return [one.kind for one in check(config_of(given, **more)).errors]


def test_without_trust_or_with_trust_and_no_consent_nothing_starts(given: Given, tmp_path: Path) -> None:
    assert errors(given, trust_remote_code=False) == ["needs-code"]
    assert errors(given) == ["needs-consent"]
    said = problem(config_of(given))
    assert said is not None and "configuration_own.py" in said.message and said.setting == "trust_remote_code"
    with pytest.raises(InputError):
        launch(config_of(given))
    assert not (tmp_path / "out").exists()
    agree(there(given))
    assert errors(given) == [] and trusted(str(given["base_model"]), None, True)
    assert not trusted(str(given["base_model"]), None, False)


def test_a_model_without_code_asks_nothing(given: Given, tmp_path: Path) -> None:
    plain = {**given, "base_model": str(fake_model(tmp_path / "plain"))}
    assert code_of(plain["base_model"]) is None and errors(plain) == []
    assert not trusted(plain["base_model"], None, True) and pinned(config_of(plain)) == (config_of(plain), None)


def test_code_that_is_not_needed_may_stay_unused(given: Given) -> None:
    own_model_config = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}
    file = Path(given["base_model"]) / "config.json"
    file.write_text(json.dumps({**OWN, **own_model_config}))
    assert errors(given, trust_remote_code=False) == [] and errors(given) == ["needs-consent"]


@pytest.mark.parametrize("change", ["byte", "new", "gone", "map", "folder"])
def test_consent_ends_with_any_change(given: Given, change: str) -> None:
    folder = Path(given["base_model"])
    agree(there(given))
    assert agreed(there(given))
    if change == "byte":
        (folder / "modeling_own.py").write_bytes(CODE["modeling_own.py"].replace(b"C", b"D"))
    elif change == "new":
        (folder / "sub").mkdir()
        (folder / "sub" / "more.py").write_text("")
    elif change == "gone":
        (folder / "modeling_own.py").unlink()
    elif change == "map":
        changed = {**OWN["auto_map"], "AutoModelForCausalLM": "configuration_own.Evil"}  # type: ignore[dict-item]
        (folder / "config.json").write_text(json.dumps({**OWN, "auto_map": changed}))
    else:
        moved = folder.rename(folder.with_name("moved"))
        given = {**given, "base_model": str(moved)}
    assert not agreed(there(given)) and errors(given) == ["needs-consent"]
    with pytest.raises(InputError):
        pinned(config_of(given))
    with pytest.raises(InputError):
        trusted(str(given["base_model"]), None, True)


@pytest.mark.parametrize(("auto_map", "says"), [
    ({"AutoConfig": "gone.C"}, "gone.py"), ({"AutoConfig": "/etc/evil.C"}, "no name of a class"), ({"AutoConfig": "../evil.C"}, "no name of a class"),
    ({"AutoConfig": "a.b.C"}, "no name of a class"), ({"AutoConfig": "org/other--x.C"}, "the code of org/other"),
    ({"AutoConfig": "/tmp--x.C"}, "the code of /tmp"), ({"AutoConfig": 3}, "no name of a class"), ({"AutoTokenizer": [None, "gone.T"]}, "gone.py"),
])  # fmt: skip
def test_code_that_is_not_all_there_cannot_be_agreed_to(given: Given, auto_map: Given, says: str) -> None:
    (Path(given["base_model"]) / "config.json").write_text(json.dumps({**OWN, "auto_map": auto_map}))
    found = there(given)
    assert any(says in text for text in found.missing)
    with pytest.raises(ValueError, match="missing"):
        agree(found)
    assert errors(given) == ["needs-consent"]


def test_a_relative_folder_never_stands_in_for_another_repository(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    place = cache.repository("org/lib")
    (place / "snapshots" / "abc").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    (place / "snapshots" / "abc" / "x.py").write_text("")
    (Path(given["base_model"]) / "config.json").write_text(
        json.dumps({**OWN, "auto_map": {"AutoConfig": "org/lib--x.C"}})
    )
    assert not there(given).missing
    (tmp_path / "cwd" / "org" / "lib").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd")
    assert there(given).missing


def test_imports_and_generation_code_count(given: Given) -> None:
    folder = Path(given["base_model"])
    (folder / "modeling_own.py").write_text("from .configuration_own import C\nfrom .helpers import x\n")
    assert there(given).missing == ("helpers.py",)
    (folder / "helpers.py").write_text("")
    assert not there(given).missing
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    assert code_of(str(folder)) is None
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("print()")
    assert "custom_generate/generate.py" in there(given).files


def test_the_file_of_consents_is_private_and_a_damaged_or_foreign_one_holds_none(given: Given) -> None:
    from engine import paths

    found = there(given)
    agree(found)
    file = paths.state_dir() / "consents.json"
    assert file.stat().st_mode & 0o777 == 0o600
    other = Code("other", None, "0" * 64, ("a.py",))
    agree(other)
    agree(found)
    assert agreed(found) and agreed(other) and len(json.loads(file.read_text())["consents"]) == 2
    file.chmod(0o666)
    assert not agreed(found)
    file.chmod(0o600)
    for text in ('{"format": 2}', "[", '{"format": 1, "consents": [3, {"name": 1}]}', ""):
        file.write_text(text)
        assert not agreed(found)
    agree(found)
    assert agreed(found)


@pytest.fixture
def cached(given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Given, str]:
    """The same as a model of the hub cache, and its commit."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    commit = "c" * 40
    place = cache.repository("org/own")
    (place / "snapshots").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    os.rename(given["base_model"], place / "snapshots" / commit)
    return {**given, "base_model": "org/own"}, commit


def test_a_launch_pins_the_commit_and_keeps_what_was_agreed_to(cached: tuple[Given, str], tmp_path: Path) -> None:
    given, commit = cached
    agree(there(given))
    given["worker_python"] = str(fake_python(tmp_path / "python", "step(1)\n"))
    run = launch(config_of(given, queue=False))
    record = run.read_run() or {}
    assert record["config"]["revision"] == commit and record["code"] == there(given).record()
    ended(run)
    from engine import resume

    plan = resume.plan(run, overrides={"num_train_epochs": 9})
    assert plan.config is not None and plan.config.revision == commit and not plan.errors
    again = resume.start(plan)
    assert (again.read_run() or {})["code"] == record["code"]
    ended(again)
    (cache.repository("org/own") / "snapshots" / commit / "modeling_own.py").write_text("changed")
    assert [one.kind for one in resume.plan(run).errors] == ["needs-consent"]


def test_the_worker_runs_only_what_was_agreed_to(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.worker.owncode as owncode

    monkeypatch.setattr(owncode, "run_nothing_older", lambda: None)
    config = config_of(given).model_dump()
    with pytest.raises(CannotTrain, match="nobody has agreed"):
        verify_code({}, config)
    record = {"code": there(given).record()}
    assert verify_code(record, config) is config
    (Path(given["base_model"]) / "modeling_own.py").write_text("import os")
    with pytest.raises(CannotTrain, match="not the code that was agreed to"):
        verify_code(record, config)
    for file in ("modeling_own.py", "configuration_own.py", "config.json"):
        (Path(given["base_model"]) / file).unlink()
    with pytest.raises(CannotTrain, match="no longer with the model"):
        verify_code(record, config)
    assert verify_code({}, config)["trust_remote_code"] is False and config["trust_remote_code"] is True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, typed: str) -> Terminal:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


@pytest.mark.parametrize(("typed", "counts"), [("trust\n", True), ("trust", True), ("\n", False), ("y\n", False), ("yes\n", False), ("TRUST\n", False),
                                               ("trust me\n", False), ("", False)])  # fmt: skip
def test_only_the_typed_word_counts(given: Given, monkeypatch: pytest.MonkeyPatch, typed: str, counts: bool) -> None:
    screen = at_a_terminal(monkeypatch, typed)
    if counts:
        ask_consent(config_of(given), [])
    else:
        with pytest.raises(InputError) as raised:
            ask_consent(config_of(given), [])
        assert raised.value.problems[0].kind == "needs-consent"
    assert agreed(there(given)) == counts
    text = screen.getvalue()
    assert (
        "modeling_own.py" in text
        and "33 B" in text
        and there(given).sha256[:16] in text
        and str(given["base_model"]) in text
    )


def test_who_has_agreed_is_not_asked_again_and_without_trust_nobody_is(
    given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(there(given))
    screen = at_a_terminal(monkeypatch, "")
    ask_consent(config_of(given), [])
    (Path(given["base_model"]) / "modeling_own.py").write_text("changed")
    ask_consent(config_of(given, trust_remote_code=False), [])
    assert screen.getvalue() == ""


def test_without_a_terminal_a_typed_commit_is_consent_to_it(
    cached: tuple[Given, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, commit = cached
    monkeypatch.setattr(sys, "stdin", io.StringIO("trust\n"))
    for revision, words in ((None, ["--trust_remote_code"]), ("main", ["--trust_remote_code", "--revision", "main"]),
                            (commit, ["--config", "f.yaml"]), (commit, ["--revision", commit]), (commit, ["--trust_remote_code"])):  # fmt: skip
        ask_consent(config_of(given, revision=revision), words)
        assert not agreed(there(given)), words
    said = problem(config_of(given))
    assert said is not None and said.hint.endswith(f"--revision {commit}")
    ask_consent(config_of(given, revision=commit), ["--trust-remote-code", f"--revision={commit}"])
    assert agreed(there(given))


def test_a_directory_needs_a_terminal(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("trust\n"))
    ask_consent(config_of(given), ["--trust_remote_code"])
    assert not agreed(there(given))
    said = problem(config_of(given))
    assert said is not None and "--revision" not in said.hint and "tunedeck train" in said.hint


def test_code_of_the_hub_is_fetched_and_shown_before_anybody_is_asked(
    given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    hub.forget()
    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        served.repositories["org/own"] = repository(OWN, CODE)
        screen = at_a_terminal(monkeypatch, "trust\n")
        ask_consent(config_of(given, base_model="org/own"), [])
        commit = served.repositories["org/own"].commit
        assert "Fetching the code of org/own" in screen.getvalue() and commit in screen.getvalue()
        result = check(config_of(given, base_model="org/own"))
        assert [one.kind for one in result.warnings] == ["not-downloaded"] and result.ok
        config, record = pinned(config_of(given, base_model="org/own"))
        assert config.revision == commit and record is not None and record["commit"] == commit

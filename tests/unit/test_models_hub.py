"""The hub is asked in a process of its own, in a bounded time, and every kind of answer has its words."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.config import parse
from engine.models import cache, code, consent, hub
from engine.preflight import check
from tests.hub import GOOD, Hub, Repository, serving
from tests.support import fake_model, write_rows

CONFIG = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "torch_dtype": "bfloat16"}
OWN = {"model_type": "own", "architectures": ["OwnForCausalLM"],
       "auto_map": {"AutoConfig": "configuration_own.C", "AutoModelForCausalLM": "modeling_own.M"}}  # fmt: skip
CODE = {"configuration_own.py": b"x = 1\n", "modeling_own.py": b"from .configuration_own import C\n"}


def repository(config: dict[str, Any] | None = None, extra: dict[str, bytes] | None = None, **more: Any) -> Repository:
    files = {"config.json": json.dumps(config or CONFIG).encode(), "tokenizer_config.json": b'{"chat_template": "x"}',
             "tokenizer.json": b"{}", "model.safetensors": b"x" * 2000, **(extra or {})}  # fmt: skip
    return Repository(files, **more)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    hub.forget()
    with serving() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def test_a_model_is_described_before_it_is_downloaded(served: Hub) -> None:
    served.repositories["org/m"] = repository(
        card={"license": "other", "license_name": "own-1"}, parameters={"BF16": 900, "F32": 10}
    )
    found = hub.ask("org/m")
    assert (
        found.ok and found.commit == served.repositories["org/m"].commit and not found.gated and found.template is True
    )
    assert (found.bytes, found.parameters, found.dtype, found.licence) == (2000, 910, "bfloat16", "own-1")
    assert (found.architecture, found.model_type, found.trouble) == ("Qwen2ForCausalLM", "qwen2", "")
    assert not found.code and not found.needs_code and not (cache.repository("org/m")).exists()
    assert hub.ask("org/m", found.commit).ok and not any("safetensors" in path for path in served.asked)


@pytest.mark.parametrize(("files", "trouble"), [
    ({"config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}', "model.safetensors": b"x"}, "no causal language model (BertModel)"),
    ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "an adapter"), ({"m.gguf": b"x"}, "GGUF only"),
    ({"config.json": json.dumps(CONFIG).encode(), "pytorch_model.bin": b"x"}, "weights only as pickle"),
    ({"config.json": json.dumps(CONFIG).encode()}, "no weights"), ({"config.json": b"{" * 9999, "model.safetensors": b"x"}, "config.json is missing"),
])  # fmt: skip
def test_what_cannot_be_tuned_is_said(served: Hub, files: dict[str, bytes], trouble: str) -> None:
    served.repositories["org/m"] = Repository(files)
    assert hub.ask("org/m").trouble == trouble


def test_refusals_have_their_kinds_and_say_what_to_do(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.repositories["org/m"] = repository()
    served.repositories["org/gated"] = repository(gated="manual", readers=(GOOD,))
    served.repositories["org/closed"] = repository(gated="auto")
    served.repositories["org/private"] = repository(private=True, readers=(GOOD,))
    missing = hub.ask("org/none")
    assert missing.kind == "missing" and "or it is private" in missing.message and "hf auth login" in missing.hint
    assert hub.ask("org/private").kind == "missing"
    assert hub.ask("org/m", "v9").kind == "no-revision" and hub.ask("org/m", "v9").problem().setting == "revision"
    gated = hub.ask("org/gated")
    assert (
        gated.kind == "gated"
        and gated.gated
        and f"{served.url}/org/gated" in gated.hint
        and "hf auth login" in gated.hint
    )
    monkeypatch.setenv("HF_TOKEN", GOOD)
    assert hub.ask("org/gated").ok and hub.ask("org/gated").gated and hub.ask("org/private").ok
    closed = hub.ask("org/closed")
    assert closed.kind == "gated" and "token may not" in closed.message and "login" not in closed.hint
    monkeypatch.setenv("HF_TOKEN", "hf_expired_secret")
    bad = hub.ask("org/m")
    assert bad.kind == "bad-token" and "HF_TOKEN" in bad.message and "secret" not in repr(bad)
    monkeypatch.delenv("HF_TOKEN")
    served.broken = 503
    assert hub.ask("org/m").kind == "unreachable" and "503" in hub.ask("org/m").message
    for name in ("a b", "../etc", "org/name/more", "", "a\0b", "x" * 500):
        assert hub.ask(name).kind == "missing"


def test_the_token_goes_to_the_hub_alone(served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served.repositories["org/m"] = repository()
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text(GOOD)
    assert hub.ask("org/m").ok and set(served.tokens) == {GOOD}
    served.tokens.clear()
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    assert hub.ask("org/m").ok and set(served.tokens) == {""}
    assert cache.token_from() == str(tmp_path / "hf" / "token")


def test_a_hub_that_does_not_answer_costs_no_more_than_the_limit(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.delay = 30
    begun = time.monotonic()
    assert hub.ask("org/m", timeout=1.5).kind == "timeout"
    assert time.monotonic() - begun < 2.5
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        begun = time.monotonic()
        assert hub.ask("org/m", timeout=1).kind == "timeout"
        assert time.monotonic() - begun < 2
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.ask("org/m").kind == "unreachable"
    monkeypatch.setenv("HF_ENDPOINT", "http://no-such-host.invalid")
    assert hub.ask("org/m").kind in ("unreachable", "timeout")


def test_a_question_can_be_taken_back_and_leaves_no_process(served: Hub) -> None:
    served.delay = 30
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    cancelled = threading.Event()
    threading.Timer(0.5, cancelled.set).start()
    begun = time.monotonic()
    assert hub.ask("org/m", timeout=20, cancelled=cancelled).kind == "cancelled"
    assert time.monotonic() - begun < 2
    left = [child for child in psutil.Process().children(recursive=True) if child.pid not in before]
    assert not left


def test_offline_is_said_at_once_and_asks_nobody(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    begun = time.monotonic()
    assert hub.ask("org/m").kind == "offline" and time.monotonic() - begun < 0.1 and not served.asked


def test_an_answer_is_kept_for_a_while_and_asked_for_once(served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    served.repositories["org/m"] = repository()
    threads = [threading.Thread(target=hub.lately, args=("org/m",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert served.asked.count("/api/models/org/m") == 1
    monkeypatch.setenv("HF_TOKEN", GOOD)  # another login is another question
    assert hub.lately("org/m").ok and served.asked.count("/api/models/org/m") == 2


def test_code_is_fetched_without_weights_so_that_it_can_be_read(served: Hub) -> None:
    served.repositories["org/own"] = repository(OWN, CODE)
    found = hub.ask("org/own")
    assert found.code and found.needs_code and code.code_of("org/own") is None
    assert hub.fetch_code("org/own").ok
    brought = code.code_of("org/own")
    assert brought is not None and brought.commit == found.commit and not brought.missing
    assert brought.files == ("configuration_own.py", "modeling_own.py")
    assert not any("safetensors" in path for path in served.asked)
    assert hub.fetch_code("org/own", found.commit).ok and code.code_of("org/own", found.commit) == brought


def test_code_of_another_repository_is_fetched_too(served: Hub) -> None:
    given = {
        **OWN,
        "auto_map": {"AutoConfig": "org/lib--configuration_own.C", "AutoModelForCausalLM": "org/lib--modeling_own.M"},
    }
    served.repositories["org/own"] = repository(given)
    served.repositories["org/lib"] = repository(CONFIG, CODE)
    (cached := cache.repository("org/own") / "snapshots" / "abc").mkdir(parents=True)
    (cached / "config.json").write_text(json.dumps(given))
    brought = code.code_of("org/own", "abc")
    assert brought is not None and brought.missing and not consent.agreed(brought)
    assert hub.fetch_code("org/own").ok
    brought = code.code_of("org/own")
    commit = served.repositories["org/lib"].commit[:12]
    assert brought is not None and not brought.missing
    assert brought.files == tuple(f"org/lib@{commit}:{name}" for name in CODE)


@pytest.fixture
def good(tmp_path: Path) -> dict[str, object]:
    return {
        "train_path": str(write_rows(tmp_path / "train.jsonl", 10)),
        "output_dir": str(tmp_path / "out"),
        "base_model": "org/m",
    }


def said(values: dict[str, object]) -> list[tuple[str, str | None, str]]:
    result = check(parse(values))
    return [(p.kind, p.setting, p.severity) for p in [*result.errors, *result.warnings]]


def test_the_light_checks_ask_the_hub_for_what_is_not_here(
    served: Hub, good: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.repositories["org/m"] = repository()
    served.repositories["org/gated"] = repository(gated="auto")
    served.repositories["org/bert"] = repository({"model_type": "bert", "architectures": ["BertModel"]})
    assert said(good) == [("not-downloaded", "base_model", "warning")]
    (problem,) = check(parse(good)).warnings
    assert "2.0 KiB will be downloaded" in problem.message
    assert said({**good, "base_model": "org/none"}) == [("hub-missing", "base_model", "error")]
    assert said({**good, "base_model": "org/gated"}) == [("hub-gated", "base_model", "error")]
    assert said({**good, "base_model": "org/bert"}) == [("bad-model", "base_model", "error")]
    assert said({**good, "revision": "v9"}) == [("hub-no-revision", "revision", "error")]
    served.delay = 30
    monkeypatch.setattr("engine.models.checking.HUB_SECONDS", 1.0)
    hub.forget()
    (problem,) = check(parse(good)).warnings
    assert (
        problem.kind == "not-downloaded"
        and "not in the local hub cache" in problem.message
        and "did not answer" in problem.message
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert said(good) == [("bad-model", "base_model", "error")]


def test_a_model_that_does_not_fit_on_the_disk_is_refused(
    served: Hub, good: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    served.repositories["org/m"] = repository()
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr("engine.models.checking.shutil.disk_usage", lambda path: usage)
    assert said(good) == [("no-space", "base_model", "error")]


def test_a_snapshot_that_is_not_whole(served: Hub, good: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    place = cache.repository("org/m")
    folder = fake_model(place / "snapshots" / "abc")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("abc")
    assert said(good) == [] and not served.asked
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    served.repositories["org/m"] = repository()
    (problem,) = check(parse(good)).warnings
    assert problem.kind == "not-downloaded" and "weights are incomplete: 1 of 2 files" in problem.message
    hub.forget()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    (problem,) = check(parse(good)).errors
    assert "weights are incomplete: 1 of 2 files" in problem.message and problem.setting == "base_model"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (problem,) = check(parse(good)).errors
    assert "weights are incomplete: 1 of 2 files" in problem.message and "HF_HUB_OFFLINE" in problem.message


def test_code_of_a_model_that_is_not_here_needs_consent_first(served: Hub, good: dict[str, object]) -> None:
    served.repositories["org/m"] = repository(OWN, CODE)
    commit = served.repositories["org/m"].commit
    (problem,) = check(parse(good)).errors
    assert problem.kind == "needs-code" and problem.setting == "trust_remote_code"
    (problem,) = check(parse({**good, "trust_remote_code": True})).errors
    assert problem.kind == "needs-consent" and f"--revision {commit}" in problem.hint

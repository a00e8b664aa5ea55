"""Bad models, templates and settings at the command's own door: each is refused with 2 before anything is started.

What is said names the file and line, or the setting, and what to do; nothing is left behind. Bad data are in
``test_data_bad.py`` (they come to the same door here, one of each kind).
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import paths
from engine.cli import main
from engine.config import settings
from engine.inspecting import Inspector
from tests import datafiles
from tests.families import templates as t
from tests.support import write_rows
from tests.unit.test_data_bad import CASES as DATA

SAMPLE = paths.sample_data_dir() / "tiny-qwen2"
Flags = dict[str, Any]
Make = Callable[[Path], Flags]


class Case(NamedTuple):
    """``make`` writes what is needed into a folder and returns flags; ``kind`` and ``where`` (a setting) must be told."""

    name: str
    make: Make
    kind: str
    where: str
    words: str = ""
    slow: bool = False


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    asked = Inspector()
    yield asked
    asked.close()


class Shared:
    """The one inspector of all cases: a command that ends with it does not end it."""

    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inspector, name)

    def close(self) -> None:
        """Kept for the next case."""


@pytest.fixture
def command(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs ``tunedeck`` in this process; anything that would start a run fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("engine.cli.train.inspector_of", lambda config: Shared(inspector))
    monkeypatch.setattr("engine.cli.train.SHEET_SECONDS", 120.0)  # a busy machine is none of these cases

    def started(*words: object, **more: object) -> None:
        raise AssertionError("a run was started")

    for name in ("engine.launchers.launch", "engine.launchers.local.launch"):
        monkeypatch.setattr(name, started)

    def run(verb: str, flags: Flags, *more: str) -> tuple[int, str, str]:
        code = main([verb, *(f"--{name}={value}" for name, value in flags.items()), *more])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run


def whole(flags: Flags, folder: Path) -> Flags:
    """The flags of a run that nothing is wrong with but what is given."""
    usual: Flags = {"base_model": SAMPLE, "train_path": folder / "rows.jsonl", "output_dir": folder / "runs" / "out"}
    write_rows(folder / "rows.jsonl", 8)
    return {name: value for name, value in {**usual, **flags}.items() if value is not None}


def assert_refused(command: Any, case: Case, flags: Flags, folder: Path) -> None:
    code, out, err = command("train", flags)
    assert code == 2, (out, err)
    assert "Traceback" not in err and "Traceback" not in out and "error: " in err, err
    assert not (folder / "runs").exists(), "nothing may be left of it"
    if case.slow:
        assert case.where in err and case.words in err, err
        return
    code, out, _ = command("preflight", flags, "--json")
    document = json.loads(out)
    assert code == 2 and document["ok"] is False
    found = [p for p in document["errors"] if p["kind"] == case.kind and p.get("setting") in (case.where, None)]
    assert found, document["errors"]
    assert any(case.words in f"{p.get('file', '')} {p['message']} {p['hint']}" for p in found), found
    for problem in document["errors"]:
        place = (
            f"{problem['file']}:{problem['line']}"
            if "line" in problem
            else problem.get("file") or problem.get("setting")
        )
        assert place, f"it must say where: {problem}"
        # More words for the same data (how many rows in all) stand without a hint of their own.
        assert problem["hint"] or "must be" in problem["message"] or problem["kind"] == "more-errors", problem
        assert not any(ord(letter) < 32 for letter in problem["message"] + problem["hint"])
        assert str(place) in err and problem["message"][:60] in err, (problem, err)
    assert not (folder / "runs").exists()


# Settings: of each one that which is out of its range, of another type, or no word of its list.


def _wrong_values() -> list[tuple[str, str]]:
    out = []
    for name, info in settings().items():
        if info.kind in ("integer", "number"):
            out += [(name, "many"), (name, "nan"), (name, "true"), (name, "1,5")]
            if info.kind == "integer":
                out.append((name, "1.5"))
            lowest = info.minimum if info.minimum is not None else info.exclusive_minimum
            if lowest is not None:
                out.append((name, str(lowest - 1)))
            if info.maximum is not None:
                out.append((name, str(info.maximum * 2 + 1)))
        elif info.kind == "choice":
            out += [(name, "nonsense"), (name, "3")]
        elif info.kind == "flag":
            out += [(name, "perhaps"), (name, "2")]
            out += [] if info.allows_auto else [(name, "auto")]
    return [*out, ("gpus", "-1"), ("gpus", "0,0"), ("gpus", "first"), ("notify", "pigeon"), ("data_fields", "query"),
            ("data_fields", "wisdom=x"), ("base_model", " "), ("train_path", " "), ("output_dir", " "), ("train_path", ",")]  # fmt: skip


SETTINGS = [
    Case(f"{name}={value}", lambda folder, name=name, value=value: {name: value},  # type: ignore[misc]
         "contradiction" if (value == " " and name != "train_path") or (name, value) in (("gpus", "-1"), ("gpus", "0,0"))
         else "missing-file" if value == "," else "bad-setting", name)
    for name, value in _wrong_values()
]  # fmt: skip
REQUIRED = [Case(f"no {name}", lambda folder, name=name: {name: None}, "missing-setting", name)  # type: ignore[misc]
            for name in ("train_path", "output_dir")]  # fmt: skip


def _pair(name: str, where: str, words: str, **flags: Any) -> Case:
    return Case(name, lambda folder: flags, "contradiction", where, words)


def _eval(folder: Path) -> Flags:
    return {"eval_path": write_rows(folder / "eval.jsonl", 2), "eval_fraction": 0.1}


PAIRS = [
    _pair("both quantisations", "load_in_4bit", "load_in_8bit", load_in_4bit=True, load_in_8bit=True),
    Case("two kinds of eval data", _eval, "contradiction", "eval_fraction", "eval_path"),
    _pair("best of nothing", "load_best_model_at_end", "evaluation data", load_best_model_at_end=True),
    _pair("patience for nothing", "early_stopping_patience", "evaluation data", early_stopping_patience=2),
    _pair("evaluations of nothing", "eval_steps", "evaluation data", eval_steps=5),
    _pair("packed and padded", "padding_free", "packing", packing=True, padding_free=False),
    _pair("saves beside evaluations", "save_steps", "multiple", load_best_model_at_end=True, eval_steps=30, eval_fraction=0.1),
    Case("no layers", lambda folder: {"target_modules": ","}, "bad-setting", "target_modules"),
    Case("unknown setting", lambda folder: {"lr": 1}, "unknown-setting", "lr", "learning_rate"),
    Case("nearly a setting", lambda folder: {"lora_rank": 8}, "unknown-setting", "lora_rank", "lora_r"),
    Case("too few rows to hold some out", lambda folder: {"train_path": write_rows(folder / "one.jsonl", 1), "eval_fraction": 0.5},
         "too-few-rows", "eval_fraction"),
    Case("no such GPU", lambda folder: {"gpus": 97}, "no-such-gpu", "gpus", "97"),
    Case("no such Python", lambda folder: {"worker_python": folder / "python"}, "bad-python", "worker_python"),
    Case("flash attention that is not there", lambda folder: {"attn_implementation": "flash_attention_2"}, "missing-package",
         "attn_implementation", "flash_attn"),
    Case("paged optimizer that is not there", lambda folder: {"optim": "paged_adamw_32bit"}, "missing-package", "optim", "bitsandbytes"),
    Case("4 bit that is not there", lambda folder: {"load_in_4bit": True}, "missing-package", "load_in_4bit", "bitsandbytes"),
    Case("8 bit that is not there", lambda folder: {"load_in_8bit": True}, "missing-package", "load_in_8bit", "bitsandbytes"),
    Case("output is a file", lambda folder: {"output_dir": write_rows(folder / "file", 1)}, "bad-output", "output_dir", "is a file"),
    Case("output below a file", lambda folder: {"output_dir": write_rows(folder / "file", 1) / "out"}, "bad-output", "output_dir"),
    Case("output where nobody may write", lambda folder: {"output_dir": "/proc/out"}, "bad-output", "output_dir"),
    Case("prompts that are not there", lambda folder: {"sample_prompts": folder / "none.txt"}, "missing-file", "sample_prompts"),
    Case("roles in plain text", lambda folder: {"train_path": datafiles.jsonl(folder / "t.jsonl", [{"text": "a"}]),
                                                "assistant_only_loss": True}, "no-roles", "assistant_only_loss"),
    Case("an unknown layer", lambda folder: {"target_modules": "q_proj,nothing_such"}, "unknown-target", "target_modules", "nothing_such"),
    Case("a layer to save that is not there", lambda folder: {"modules_to_save": "nothing_such"}, "unknown-layer", "modules_to_save",
         "lm_head"),
]  # fmt: skip


# Models.


def model(folder: Path) -> Path:
    """A copy of the sample model."""
    return Path(shutil.copytree(SAMPLE, folder / "model"))


def _changed(file: str, content: bytes | str | None) -> Make:
    """The model with one file written anew, or without it."""

    def make(folder: Path) -> Flags:
        path = model(folder) / file
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return {"base_model": path.parent}

    return make


def _config(**more: Any) -> Make:
    """The model with other words in its configuration."""
    record = json.loads((SAMPLE / "config.json").read_text())
    return _changed("config.json", json.dumps({**record, **more}))


def _weights(change: Callable[[bytes], bytes]) -> Make:
    return _changed("model.safetensors", change((SAMPLE / "model.safetensors").read_bytes()))


def _sharded(index: Any, *, cut: bool = False) -> Make:
    """The model in two shards, of which an index tells."""

    def make(folder: Path) -> Flags:
        path = model(folder)
        whole_file = path / "model.safetensors"
        data = whole_file.read_bytes()
        (path / "model-00001-of-00002.safetensors").write_bytes(data[: len(data) // 2] if cut else data)
        whole_file.unlink()
        (path / "model.safetensors.index.json").write_text(index if isinstance(index, str) else json.dumps(index))
        return {"base_model": path}

    return make


def _pipe(name: str) -> Make:
    """The model with a pipe that nobody writes to in place of a file."""

    def make(folder: Path) -> Flags:
        path = model(folder) / name
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        return {"base_model": path.parent}

    return make


def _only(**files: bytes) -> Make:
    """The model with these weights in place of its own."""

    def make(folder: Path) -> Flags:
        path = model(folder)
        (path / "model.safetensors").unlink()
        for name, content in files.items():
            (path / name.replace("__", ".")).write_bytes(content)
        return {"base_model": path}

    return make


def _adapter(folder: Path) -> Flags:
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "x"}')
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"")
    return {"base_model": folder / "adapter"}


def _directory(name: str) -> Make:
    def make(folder: Path) -> Flags:
        path = model(folder) / name
        path.unlink()
        path.mkdir()
        return {"base_model": path.parent}

    return make


SHARDS = {
    "weight_map": {
        "model.norm.weight": "model-00001-of-00002.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors",
    }
}
ONE_SHARD = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
HUGE_HEADER = struct.pack("<Q", 2**62) + b"{}"


def _bad(name: str, make: Make, words: str = "", kind: str = "bad-model", where: str = "base_model") -> Case:
    return Case(name, make, kind, where, words)


MODELS = [
    _bad("no such model", lambda folder: {"base_model": folder / "none"}, "does not exist"),
    _bad("a file", lambda folder: {"base_model": write_rows(folder / "m", 1)}, "is a file"),
    _bad("an empty directory", lambda folder: {"base_model": folder}, "config.json is missing"),
    _bad("no name at all", lambda folder: {"base_model": "a b c"}, "neither a directory nor a hub id"),
    _bad("a name with a slash too many", lambda folder: {"base_model": "a/b/c"}, "does not exist"),
    _bad("a hub id while the hub is switched off", lambda folder: {"base_model": "nobody/nothing"}, "HF_HUB_OFFLINE"),
    _bad("no configuration", _changed("config.json", None), "config.json is missing"),
    _bad("damaged configuration", _changed("config.json", '{"model_type": "qwen2",'), "config.json is damaged"),
    _bad("empty configuration", _changed("config.json", ""), "config.json is damaged"),
    _bad("configuration is a list", _changed("config.json", "[]"), "config.json is damaged"),
    _bad("configuration without end", _changed("config.json", "[" * 100_000), "config.json is damaged"),
    _bad("configuration in UTF-16", _changed("config.json", "{}".encode("utf-16")), "config.json"),
    _bad("configuration is a directory", _directory("config.json"), "config.json is damaged"),
    _bad("Git LFS pointer as weights", _changed("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")),
    *[
        _bad(f"a pipe for {name}", _pipe(name), name)
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors", "added_tokens.json")
    ],
    _bad("no weights", _changed("model.safetensors", None), "weights"),
    _bad("empty weights", _changed("model.safetensors", b""), "damaged"),
    _bad("weights cut short", _weights(lambda data: data[:-100]), "cut short"),
    _bad("weights cut in the header", _weights(lambda data: data[:50]), "damaged"),
    _bad("weights of zeros", _weights(lambda data: bytes(len(data))), "damaged"),
    _bad("a header beyond all measure", _changed("model.safetensors", HUGE_HEADER), "damaged"),
    _bad("a header that is no JSON", _changed("model.safetensors", struct.pack("<Q", 4) + b"nope"), "damaged"),
    _bad("weights that are a web page", _changed("model.safetensors", "<!DOCTYPE html><html>403</html>"), "damaged"),
    _bad("a missing shard", _sharded(SHARDS), "model-00002-of-00002.safetensors"),
    _bad("a shard cut short", _sharded(ONE_SHARD, cut=True), "cut short"),
    _bad("a damaged index", _sharded('{"weight_map": {'), "damaged"),
    _bad("an index without a map", _sharded({"metadata": {}}), "damaged"),
    _bad("an index with another kind of map", _sharded({"weight_map": ["a"]}), "damaged"),
    _bad("an index that leads elsewhere", _sharded({"weight_map": {"a": "../../elsewhere.safetensors"}}), "elsewhere"),
    _bad("an adapter", _adapter, "adapter"),
    _bad("GGUF only", _only(model__gguf=b"GGUF\x03\x00\x00\x00"), "weights"),
    _bad("pickle only", _only(pytorch_model__bin=b"\x80\x02}q\x00."), "pickle"),
    _bad("no tokenizer", _changed("tokenizer.json", None), "tokenizer"),
    _bad("a damaged tokenizer", _changed("tokenizer.json", '{"model": '), "tokenizer.json"),
    _bad("an empty tokenizer", _changed("tokenizer.json", "{}"), "tokenizer"),
    _bad("a tokenizer of another kind", _changed("tokenizer.json", '{"version": "1.0", "model": {"type": "Nonsense"}}'), "tokenizer"),
    _bad("more tokens than the model has", _config(vocab_size=300), "300", "token-outside"),
    _bad("an unknown type of model", _config(model_type="nothing_such"), "nothing_such"),
    _bad("no type of model", _changed("config.json", "{}"), "model_type"),
    _bad("an encoder", _config(model_type="bert", architectures=["BertModel"]), "BertModel"),
    _bad("a classifier", _config(architectures=["Qwen2ForSequenceClassification"]), "Qwen2ForSequenceClassification"),
    _bad("weights of another size", _config(hidden_size=96), "192"),
    _bad("an encoder and a decoder", _config(model_type="t5", architectures=["T5ForConditionalGeneration"]), ""),
    _bad("layers that do not divide", _config(hidden_size=191), "do not fit"),
    _bad("a number of layers that is none", _config(num_hidden_layers="four"), ""),
]  # fmt: skip


# Chat templates, as the model's own and as one that is chosen.


def _template(text: str | bytes, *, chosen: bool = False) -> Make:
    def make(folder: Path) -> Flags:
        path = folder / "own.jinja" if chosen else model(folder) / "chat_template.jinja"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return {"chat_template_path": path} if chosen else {"base_model": path.parent}

    return make


def _written(name: str, text: str | bytes, kind: str, where: str = "base_model", words: str = "") -> Case:
    return Case(name, _template(text), kind, where, words)


def _chosen(name: str, text: str | bytes, words: str = "") -> Case:
    return Case(f"chosen: {name}", _template(text, chosen=True), "bad-template", "chat_template_path", words)


NINES = "{% for a in range(99999) %}"
ENDLESS = "{{ messages | length }}" + NINES * 4 + "x" + "{% endfor %}" * 4
WRITES_ALL = "{% for m in messages %}{{ m['content'] * 1000000 }}{% endfor %}"

TEMPLATES = [
    _written("a tag without end", "{% for m in messages %}", "bad-model", words="line 1"),
    _written("an unknown tag", "{% loop %}{% endloop %}", "bad-model", words="loop"),
    _written("an open expression", "\n\n{{ messages", "bad-model", words="line 3"),
    _written("a wrong nesting", "{% if true %}{% endfor %}", "bad-model"),
    _written("an unknown filter", "{{ messages | shout }}", "bad-template", "chat_template_path", "shout"),
    _written("an unknown test", "{% if messages is funny %}{% endif %}", "bad-template", "chat_template_path", "funny"),
    _written("one that always refuses", "{{ raise_exception('not today') }}", "bad-template", "chat_template_path", "not today"),
    _written("a name that nobody gives", "{{ company.name.upper() }}", "bad-template", "chat_template_path", "company"),
    _written("a division by nothing", "{{ 1 / (messages | length - messages | length) }}", "bad-template", "chat_template_path"),
    _written("a door out of the sandbox", "{{ ''.__class__.__mro__[1].__subclasses__() }}", "bad-template", "chat_template_path"),
    _written("another file", "{% include '/etc/passwd' %}", "bad-template", "chat_template_path"),
    _written("a macro that calls itself", "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", "bad-template", "chat_template_path"),
    _written("one that writes nothing", "{# nothing #}", "bad-template", "chat_template_path", "does not write"),
    _written("always the same text", "Hello", "bad-template", "chat_template_path", "does not write"),
    _written("answers left out", t.DEAF, "bad-template", "chat_template_path", "does not write"),
    _written("turns backwards", t.BACKWARDS, "cannot-mark", "assistant_only_loss", "differently"),
    _written("turns counted", t.COUNTED, "cannot-mark", "assistant_only_loss", "differently"),
    _written("ten thousand million letters", "{{ 'x' * 10 ** 10 }}", "bad-template", "chat_template_path", "memory"),
    _written("a thousand million letters", WRITES_ALL, "bad-template", "chat_template_path", "characters"),
    _written("a number without end", "{{ 10 ** 10 ** 10 }}", "bad-template", "chat_template_path"),
    Case("one that never ends", _template(ENDLESS), "endless-template", "chat_template_path", "does not come to an end", slow=True),
    Case("a chosen one that never ends", _template(ENDLESS, chosen=True), "endless-template", "chat_template_path",
         "does not come to an end", slow=True),
    Case("none at all", _changed("chat_template.jinja", None), "no-template", "chat_template_path", "chat_template_path"),
    Case("an empty one", _template(""), "no-template", "chat_template_path"),
    Case("chosen: a name that is none", lambda folder: {"chat_template_path": "chatnl"}, "bad-template", "chat_template_path", "chatml"),
    Case("chosen: no such file", lambda folder: {"chat_template_path": folder / "none.jinja"}, "bad-template", "chat_template_path"),
    Case("chosen: a directory without one", lambda folder: {"chat_template_path": folder}, "bad-template", "chat_template_path"),
    _chosen("an empty file", ""),
    _chosen("a binary file", b"\x80\x04\x95\xff\xfe"),
    _chosen("a picture", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    _chosen("a packed file", gzip.compress(b"{{ messages }}")),
    _chosen("a tag without end", "{% for m in messages %}"),
    _chosen("two megabytes", "{# x #}" * 300_000),
]  # fmt: skip


def _rows_of(*rows: Any) -> Callable[[Path], Path]:
    return lambda folder: datafiles.jsonl(folder / "own-rows.jsonl", list(rows))


def _with_system(template: str) -> Make:
    """A template and rows, of which the second is not for it."""

    def make(folder: Path) -> Flags:
        chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        rows = [{"messages": chat}, {"messages": [{"role": "system", "content": "s"}, *chat]}]
        return {**_template(template)(folder), "train_path": datafiles.jsonl(folder / "own-rows.jsonl", rows)}

    return make


def _if_system(what: str) -> str:
    return "{% if messages[0]['role'] == 'system' %}" + what + "{% endif %}" + t.CHATML


ROWS = [
    Case("a row that the template refuses", _with_system(_if_system("{{ raise_exception('no system role') }}")), "cannot-render",
         "train_path", "no system role"),
    Case("a row that becomes a thousand million letters", _with_system(_if_system("{{ 'x' * (messages | length * 10 ** 8) }}")), "cannot-render",
         "train_path", "characters"),
    Case("a row of ten thousand million letters", _with_system(_if_system("{{ 'x' * 10 ** (messages | length + 7) }}")), "cannot-render",
         "train_path", "memory"),
    Case("a row that never ends", _with_system(_if_system(ENDLESS)), "endless-template", "chat_template_path",
         "does not come to an end", slow=True),
]  # fmt: skip
# One of each kind of bad data comes to the same door.
FIRST_OF_KIND = list({case.kind: case for case in reversed(DATA) if case.severity == "error" and case.kind}.values())


def _data(case: Any) -> Make:
    def make(folder: Path) -> Flags:
        path = folder / f"bad-{case.file}"
        path.write_bytes(case.data if isinstance(case.data, bytes) else datafiles.text(case.data).encode())
        return {"train_path": path}

    return make


KINDS = [Case(f"data: {case.name}", _data(case), case.kind, "train_path", f"bad-{case.file}") for case in FIRST_OF_KIND]
ALL = [*SETTINGS, *REQUIRED, *PAIRS, *MODELS, *TEMPLATES, *ROWS, *KINDS]


def test_there_are_enough_of_each_sort() -> None:
    bad_data = [case for case in DATA if case.severity == "error"]
    assert len(bad_data) >= 180 and len(MODELS) >= 40 and len(TEMPLATES) >= 30 and len(SETTINGS) + len(PAIRS) >= 150
    assert len({case.name for case in ALL}) == len(ALL)
    wrong = {case.where for case in SETTINGS}
    told = {name for name, info in settings().items() if info.kind in ("integer", "number", "choice", "flag")}
    assert told <= wrong, "a setting without a bad value"


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else []) for case in ALL]
)
def test_it_is_refused_before_anything_is_started(tmp_path: Path, command: Any, case: Case) -> None:
    assert_refused(command, case, whole(case.make(tmp_path), tmp_path), tmp_path)


def test_what_is_used_as_good_input_here_is_good(tmp_path: Path, command: Any) -> None:
    flags = whole({}, tmp_path)
    code, out, err = command("preflight", flags, "--json")
    assert code == 0 and json.loads(out)["ok"] is True, (out, err)
    assert command("preflight", {**flags, "base_model": model(tmp_path)}, "--json")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written(tmp_path: Path, command: Any) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    for flags, kind, where in (({"output_dir": closed / "out"}, "bad-output", "output_dir"),
                               ({"train_path": closed / "x.jsonl"}, "missing-file", "train_path")):  # fmt: skip
        assert_refused(command, Case("closed", lambda folder: {}, kind, where), whole(flags, tmp_path), tmp_path)

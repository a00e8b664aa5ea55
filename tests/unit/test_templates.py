"""Chat templates by name, file and directory: what they write, whose they are, and which fit a tokenizer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import templates
from engine.config import parse, yaml_file
from engine.data import Chat
from engine.errors import InputError
from engine.inspecting import model_fields
from engine.launchers.local import with_absolute_paths
from engine.modelfiles import check_template
from engine.preflight import check
from engine.templates.table import BY_NAME, NAMES, OF_TYPE, TABLE
from engine.worker.marking import Marker
from tests.families import templates as t
from tests.families.made import FAMILIES, Family, tokenizer
from tests.support import fake_model, write_rows

OURS = [one.name for one in TABLE if one.ours]
# The made tokenizer that has each template's control tokens.
OF_NAME = {"smollm2": "smollm2", "chatml": "chatml", "qwen2_5": "qwen2.5", "qwen3": "qwen3", "qwen3_instruct_2507": "qwen3",
           "lfm2": "chatml", "llama3": "llama3", "llama3_1": "llama3.1", "gemma": "gemma", "gemma3": "gemma", "phi3": "phi3",
           "phi4": "phi4", "deepseekv3": "deepseek-r1", "deepseek_r1_distill": "deepseek-r1"}  # fmt: skip
# Those of families that the other tests have no tokenizer of.
MORE = {
    "gemma4_v5": Family("gemma4_v5", special=("<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"),
                        eos="<eos>", bos="<bos>", pad="<pad>", pieces=True),
    "cohere": Family("cohere", special=("<PAD>", "<BOS_TOKEN>", *BY_NAME["cohere"].tokens), eos="<|END_OF_TURN_TOKEN|>",
                     bos="<BOS_TOKEN>", pad="<PAD>"),
}  # fmt: skip
ASKED = [{"role": "user", "content": "Hello there"}]
TALK = [*ASKED, {"role": "assistant", "content": "Good day"}, {"role": "user", "content": "What does it mean?"},
        {"role": "assistant", "content": "I don't know"}]  # fmt: skip
SYSTEM = {"role": "system", "content": "Be helpful"}


def marker(name: str) -> Marker:
    return Marker(tokenizer(OF_NAME.get(name, "mistral-3"), templates.text(name)))


def rendered(name: str, messages: list[dict[str, Any]], *, asks: bool = False, by: str | None = None) -> str:
    made = tokenizer(OF_NAME.get(name, "mistral-3"))
    return str(made.apply_chat_template(messages, chat_template=by or templates.text(name), tokenize=False,
                                        add_generation_prompt=asks))  # fmt: skip


def refused(value: str) -> Any:
    with pytest.raises(InputError) as caught:
        templates.text(value)
    (problem,) = caught.value.problems
    assert problem.kind == "bad-template" and problem.setting == "chat_template_path" and problem.hint
    return problem


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_learned_with_its_end_and_nothing_else_of_the_chat(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in MORE:
        monkeypatch.setitem(FAMILIES, name, MORE[name])
        monkeypatch.setitem(OF_NAME, name, name)
    found = marker(name)
    marked = found.mark(Chat(TALK))
    pieces = found.pieces(marked, Chat(TALK))
    said = "".join(piece.text for piece in pieces if piece.trained)
    assert "Good day" in said and "I don't know" in said
    assert "Hello" not in said and "mean" not in said and not marked.unproven
    assert found.way().every_turn and found.ends_turns()


@pytest.mark.parametrize("name", OURS)
def test_our_own_have_no_remarks_and_say_what_they_cannot_write(name: str) -> None:
    assert marker(name).remarks() == []
    call = {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}],
    }
    with pytest.raises(Exception, match="cannot write tool calls"):
        rendered(name, [*ASKED, call])
    assert rendered(name, [SYSTEM, *TALK]).count("Be helpful") == 1


@pytest.mark.parametrize(("name", "as_shipped"), [
    ("chatml", t.CHATML), ("smollm2", t.SMOLLM), ("mistral_v1", None), ("mistral", t.MISTRAL_3), ("zephyr", t.ZEPHYR),
    ("phi4", t.PHI_4), ("llama2", t.LLAMA_2)])  # fmt: skip
def test_our_own_write_what_the_families_ship(name: str, as_shipped: str | None) -> None:
    if as_shipped is None:  # Mistral 7B Instruct 0.2: a space before each question, and one before each answer
        assert (
            rendered(name, TALK)
            == "<s> [INST] Hello there [/INST] Good day</s> [INST] What does it mean? [/INST] I don't know</s>"
        )
        return
    chats = [TALK, TALK[:2], TALK[:3]]
    if name in ("chatml", "smollm2", "zephyr", "phi4", "llama2"):
        chats += [[SYSTEM, *chat] for chat in chats]
    for chat in chats:
        assert rendered(name, chat) == rendered(name, chat, by=as_shipped)
        if chat[-1]["role"] == "user":
            assert rendered(name, chat, asks=True) == rendered(name, chat, asks=True, by=as_shipped)


@pytest.mark.parametrize(("name", "text"), [
    ("mistral_tekken", "<s>[INST]Be helpful\n\nHello there[/INST]Good day</s>[INST]What does it mean?[/INST]"),
    ("mistral_small", "<s>[SYSTEM_PROMPT]Be helpful[/SYSTEM_PROMPT][INST]Hello there[/INST]Good day</s>[INST]What does it mean?[/INST]"),
    ("tulu", "<s><|system|>\nBe helpful\n<|user|>\nHello there\n<|assistant|>\nGood day</s>\n<|user|>\nWhat does it mean?\n<|assistant|>\n"),
    ("vicuna", "<s>Be helpful USER: Hello there ASSISTANT: Good day</s>USER: What does it mean? ASSISTANT:"),
    ("alpaca", "<s>Be helpful\n\n### Instruction:\nHello there\n\n### Response:\nGood day</s>\n\n### Instruction:\nWhat does it mean?"
               "\n\n### Response:\n")])  # fmt: skip
def test_our_own_to_the_letter(name: str, text: str) -> None:
    assert rendered(name, [SYSTEM, *TALK[:3]], asks=True) == text


def test_the_table_and_the_files_agree() -> None:
    assert [one.name for one in templates.known()] == list(NAMES)
    assert {file.stem for file in (Path(templates.__file__).parent / "own").glob("*.jinja")} == set(OURS)
    assert {name for names in OF_TYPE.values() for name in names} <= set(NAMES)
    for one in TABLE:
        text = templates.text(one.name)
        assert all(token in text for token in one.tokens), one.name
        assert templates.family(text) == one.family, one.name
        assert len(one.words) <= 70 and "{#" not in (text if one.ours else "")


@pytest.mark.parametrize("template", ["chatml", "smollm2", "mistral-1", "mistral-2", "mistral-3", "llama2", "zephyr", "phi3-edited", "phi4",
                                      "alpaca", "deepseek-r1-edited", "gemma-edited", "qwen3-edited", "chatml-marked"])  # fmt: skip
def test_families_are_told_by_their_content(template: str) -> None:
    family = {"smollm2": "chatml", "qwen3-edited": "chatml"}.get(
        template, re.sub(r"-(edited|marked|\d)$", "", template)
    )
    text = tokenizer(template).chat_template
    family = {"deepseek-r1": "deepseek"}.get(family, family)
    for version in (
        text,
        "{# <|im_start|> was tried #}" + text,
        text + "\n",
        text.replace("{{", "{{ ").replace("'", '"'),
    ):
        assert templates.family(version) == family


def test_unknown_ways_of_writing_are_a_models_own() -> None:
    assert templates.family("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}") == "own"
    tulu = ("{% for message in messages %}{% if message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + '\\n' }}"
            "{% else %}{{ '<|assistant|>\\n' + message['content'] + eos_token }}{% endif %}{% endfor %}")  # fmt: skip
    assert templates.family(tulu) == "tulu"


def with_tokens(folder: Path, tokens: list[str], model_type: str = "", vocabulary: int = 32000) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    added = [{"id": number, "content": token, "special": True} for number, token in enumerate(tokens)]
    (folder / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": added, "model": {"vocab": {"a": 0}}})
    )
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": vocabulary}))
    return folder


@pytest.mark.parametrize(("tokens", "model_type", "vocabulary", "best"), [
    (["<|im_start|>", "<|im_end|>"], "qwen2", 151936, ["qwen2_5", "chatml"]),
    (["<|im_start|>", "<|im_end|>"], "qwen3", 151936, ["qwen3", "qwen3_instruct_2507", "chatml"]),
    (["<|im_start|>", "<|im_end|>"], "something_new", 50000, ["chatml", "smollm2"]),
    (["<|im_start|>", "<|im_end|>"], "llama", 64000, ["chatml"]),
    (["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "llama", 128256, ["llama3", "llama3_1", "llama2"]),
    (["<s>", "</s>"], "llama", 32000, ["llama2", "zephyr", "vicuna", "alpaca"]),
    (["<start_of_turn>", "<end_of_turn>"], "gemma2", 256000, ["gemma", "gemma3"]),
    (["<start_of_turn>", "<end_of_turn>"], "gemma3_text", 262144, ["gemma3", "gemma"]),
    (["<|turn>", "<turn|>"], "gemma4", 262144, ["gemma4_v5", "zephyr"]),
    (["<s>", "</s>"], "mistral", 32000, ["mistral_v1"]),
    (["[INST]", "[/INST]"], "mistral", 32768, ["mistral", "mistral_tekken"]),
    (["[INST]", "[/INST]"], "mistral", 131072, ["mistral_tekken", "mistral"]),
    (["[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"], "mistral", 131072, ["mistral_small"]),
    (["<|im_start|>", "<|im_sep|>", "<|im_end|>"], "phi3", 100352, ["phi4"]),
    (["<|user|>", "<|assistant|>", "<|end|>"], "phi3", 32064, ["phi3"]),
    (["<|endoftext|>"], "olmo2", 100352, ["tulu"]),
    (["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"], "qwen2", 152064, ["deepseek_r1_distill"])])  # fmt: skip
def test_the_best_for_a_model_come_first(
    tmp_path: Path, tokens: list[str], model_type: str, vocabulary: int, best: list[str]
) -> None:
    folder = with_tokens(tmp_path / "m", tokens, model_type, vocabulary)
    found = templates.fitting(folder)
    assert [one.name for one in found][: len(best)] == best and len(found) == len(NAMES)
    split = [bool(templates.lacking(folder, one.tokens)) for one in found]
    assert split == sorted(split), "those whose tokens would be split come last"
    assert templates.advice(folder).startswith(f"Set chat_template_path to {best[0]}")


def test_control_tokens_are_read_from_whatever_files_there_are(tmp_path: Path) -> None:
    assert templates.control_tokens(tmp_path) is None and templates.lacking(tmp_path, ("<|im_end|>",)) == ()
    (tmp_path / "added_tokens.json").write_text('{"<|im_end|>": 7}')
    assert templates.lacking(tmp_path, ("<|im_end|>", "<|im_start|>")) == ("<|im_start|>",)
    (tmp_path / "tokenizer_config.json").write_text('{"added_tokens_decoder": {"6": {"content": "<|im_start|>"}}}')
    assert templates.lacking(tmp_path, ("<|im_end|>", "<|im_start|>")) == ()
    for damage in (
        b"",
        b"\xff\xfe",
        b'{"added_tokens": [',
        b'{"added_tokens": [3, null, {"content": 4}]}',
        b"[" * 10000,
    ):
        (tmp_path / "tokenizer.json").write_bytes(damage)
        assert "<|im_end|>" in (templates.control_tokens(tmp_path) or ())


def test_values_mean_names_files_and_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert templates.text(" chatml ") == templates.text("chatml")
    file = tmp_path / "mine.jinja"
    file.write_text(t.CHATML)
    assert templates.text(str(file)) == templates.text("mine.jinja") == t.CHATML
    model = fake_model(tmp_path / "model")
    (model / "chat_template.jinja").write_text(t.ZEPHYR)
    assert templates.text("model") == t.ZEPHYR
    (tmp_path / "chatml").mkdir()  # a known name is never a path
    assert templates.text("chatml") != t.ZEPHYR and not templates.is_path("chatml") and templates.is_path("./chatml")
    assert templates.absolute("chatml") == "chatml" and templates.absolute("mine.jinja") == str(file)
    assert templates.absolute("org/model") == "org/model" and templates.absolute("gone.jinja") == str(
        tmp_path / "gone.jinja"
    )


def test_a_model_of_the_hub_cache_lends_its_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "models--some--chat"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    (home / "snapshots" / "abc").mkdir(parents=True)
    (home / "snapshots" / "abc" / "chat_template.jinja").write_text(t.PHI_4)
    assert templates.text("some/chat") == t.PHI_4
    assert "hub cache" in refused("some/other").message


@pytest.mark.parametrize(("content", "words"), [
    ("", "is empty"), ("{% if x %}messages", "line 1|unexpected|Unexpected|end of template"), ("messages\n{{ a[ }}", "template"),
    ("You are helpful", "never reads the messages"), (b"\xff\xfemessages", "not UTF-8"), (b"x" * 1_000_001, "too large")])  # fmt: skip
def test_files_that_are_no_template_are_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    file = tmp_path / "bad.jinja"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    problem = refused(str(file))
    assert re.search(words, problem.message) and problem.file == str(file)


def test_values_that_mean_nothing_are_refused_with_the_nearest(tmp_path: Path) -> None:
    assert "Did you mean llama3_1" in refused("llama-3.1").hint and "Did you mean chatml" in refused("chatlm").hint
    assert "Known are chatml" in refused("xxxxxxxxxx").hint
    assert "does not exist" in refused(str(tmp_path / "no.jinja")).message
    assert "no chat template" in refused(str(tmp_path)).message
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "messages"}')
    assert "directory with the tokenizer" in refused(str(tmp_path / "tokenizer_config.json")).hint
    assert refused("~nobody-there/x.jinja").message and refused("/" + "x" * 5000).message and refused("a\0b").message
    bad = tmp_path / "bad.jinja"
    bad.write_text("{% for m in messages %}\n{{ m.content }}\n{% endif %}")
    assert refused(str(bad)).line == 3


# What the rest of the house makes of it.


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings over a Qwen-like model without a template."""
    monkeypatch.chdir(tmp_path)
    model = fake_model(tmp_path / "model")
    (model / "chat_template.jinja").unlink()
    with_tokens(model, ["<|im_start|>", "<|im_end|>"], "qwen2")
    return {
        "base_model": str(model),
        "train_path": str(write_rows(tmp_path / "rows.jsonl", 4)),
        "output_dir": str(tmp_path / "out"),
    }


def test_a_missing_template_is_said_with_three_to_choose_from(settings: dict[str, Any]) -> None:
    (problem,) = check(parse(settings)).errors
    assert (problem.kind, problem.setting) == ("no-template", "chat_template_path")
    assert problem.hint == "Set chat_template_path to qwen2_5, chatml or smollm2"
    found = check(parse({**settings, "chat_template_path": "chatml"}))
    assert found.ok and not [p for p in found.warnings if p.setting == "chat_template_path"]


def test_plain_text_needs_no_template(settings: dict[str, Any], tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    text.write_text("".join(json.dumps({"text": f"Once upon a time {n}"}) + "\n" for n in range(4)))
    assert check(parse({**settings, "train_path": str(text)})).ok
    (problem,) = check(parse({**settings, "train_path": str(text), "chat_template_path": "no.jinja"})).errors
    assert problem.kind == "bad-template"


def test_warnings_about_a_chosen_template(settings: dict[str, Any], tmp_path: Path) -> None:
    found = check(parse({**settings, "chat_template_path": "llama3"}))
    (warning,) = [p for p in found.warnings if p.setting == "chat_template_path"]
    assert (
        found.ok and warning.kind == "template-tokens" and "<|eot_id|>" in warning.message and "qwen2_5" in warning.hint
    )
    (tmp_path / "mine.jinja").write_text(templates.text("llama3") + "{# mine #}")
    assert [p.kind for p in check_template(tmp_path / "model", "mine.jinja")] == ["template-tokens"]
    (tmp_path / "model" / "chat_template.jinja").write_text(t.CHATML)
    (other,) = check_template(tmp_path / "model", "smollm2")
    assert other.kind == "other-template" and "(chatml)" in other.message and other.severity == "warning"
    assert check_template(tmp_path / "model", str(tmp_path / "model")) == []
    assert check_template(tmp_path / "model", "smollm2", chats=False) == [] and check_template(None, "smollm2") == []
    # The model's own is not read where another takes its place.
    (tmp_path / "model" / "chat_template.jinja").write_text("{% if %}")
    assert [p.setting for p in check_template(tmp_path / "model", None)] == ["base_model"]
    assert {p.severity for p in check_template(tmp_path / "model", "chatml")} == {"warning"}


def test_a_cached_model_without_template_is_said_before_it_is_loaded(settings: dict[str, Any], tmp_path: Path,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    home = tmp_path / "hub" / "models--some--base"
    with_tokens(home / "snapshots" / "abc", ["<start_of_turn>", "<end_of_turn>"], "gemma2")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("abc")
    found = [p for p in check(parse({**settings, "base_model": "some/base"})).errors if p.kind == "no-template"]
    assert [p.hint for p in found] == ["Set chat_template_path to gemma, gemma3 or zephyr"]


def test_settings_go_on_with_the_run(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text(t.CHATML)
    config = parse({**settings, "chat_template_path": "mine.jinja"})
    assert with_absolute_paths(config).chat_template_path == str(tmp_path / "mine.jinja")
    named = parse({**settings, "chat_template_path": "chatml"})
    assert with_absolute_paths(named).chat_template_path == "chatml"
    assert model_fields(config) == {"base_model": settings["base_model"], "revision": None, "trust_remote_code": False,
                                    "template": t.CHATML}  # fmt: skip
    assert model_fields(parse(settings).model_dump())["template"] is None
    with pytest.raises(InputError):
        model_fields({**named.model_dump(), "chat_template_path": "nothing.jinja"})
    folder = tmp_path / "yaml"
    folder.mkdir()
    (folder / "chatml").mkdir()
    (folder / "beside.jinja").write_text(t.CHATML)
    for value, read in (("chatml", "chatml"), ("beside.jinja", str(folder / "beside.jinja"))):
        (folder / "run.yaml").write_text(f"chat_template_path: {value}\n")
        assert yaml_file.load(folder / "run.yaml")["chat_template_path"] == read
    assert parse({**settings, "chat_template_path": " none "}).chat_template_path is None


def test_lengths_are_remembered_by_template(settings: dict[str, Any]) -> None:
    from engine.data import check_sources
    from engine.preflight.lengths import count_of, parts_of

    report = check_sources(settings["train_path"])
    (part,) = parts_of(report)
    keys = {count_of(parse({**settings, "chat_template_path": value}), part).key for value in ("chatml", "zephyr", "")}
    assert len(keys) == 3 and None not in keys


def test_nothing_heavy_is_loaded_for_it() -> None:
    code = "import sys\nfrom engine import templates\ntemplates.text('llama3'), templates.known()\nprint(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"trl", "transformers", "torch", "pydantic"} & set(found)


def test_it_holds_for_the_families_that_bring_a_template() -> None:
    assert set(OF_NAME.values()) <= set(FAMILIES) and set(OF_NAME) <= set(BY_NAME)

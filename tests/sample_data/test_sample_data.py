"""The sample rows and the tiny model's folder, without torch."""

import json

import pytest
import yaml

from engine import paths

SAMPLE = paths.sample_data_dir()
MODEL = SAMPLE / "tiny-qwen2"


def rows(name):
    return [json.loads(line)["messages"] for line in (SAMPLE / name).read_text(encoding="utf-8").splitlines()]


def hangul(messages):
    return any("가" <= character <= "힣" for message in messages for character in message["content"])


@pytest.mark.parametrize(("name", "least", "most"), [("train.jsonl", 300, 500), ("eval.jsonl", 40, 80)])
def test_rows_are_whole_conversations_in_both_languages(name, least, most):
    made = rows(name)
    assert least <= len(made) <= most
    for messages in made:
        roles = [message["role"] for message in messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns and turns == ["user", "assistant"] * (len(turns) // 2)
        assert all(message["content"].strip() == message["content"] != "" for message in messages)
    korean = sum(map(hangul, made))
    assert len(made) // 3 < korean < len(made)
    assert any(messages[0]["role"] == "system" for messages in made)
    assert any(len(messages) > 4 for messages in made)


def test_no_row_twice_and_no_question_of_eval_in_train():
    train, evaluation = rows("train.jsonl"), rows("eval.jsonl")
    keys = [json.dumps(messages, ensure_ascii=False) for messages in train + evaluation]
    assert len(keys) == len(set(keys))
    answers = [
        {
            m["content"]
            for messages in part
            for m in messages
            if m["role"] == "assistant" and m["content"].count("\n") == 3
        }
        for part in (train, evaluation)
    ]
    assert all(answers) and not answers[0] & answers[1]


def test_model_folder_is_small_and_complete():
    names = {path.name for path in MODEL.iterdir()}
    assert {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    } <= names
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 5_000_000
    assert json.loads((MODEL / "config.json").read_text())["architectures"] == ["Qwen2ForCausalLM"]


def test_tokenizer_gives_every_text_back():
    tokenizer = pytest.importorskip("tokenizers").Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for text in [
        "데크가 웃는다 😀\t\n  x",
        "def f(x):\n    return 1",
        *(m["content"] for r in rows("eval.jsonl") for m in r),
    ]:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text
    config = json.loads((MODEL / "tokenizer_config.json").read_text())
    assert config["eos_token"] == "<|im_end|>" and config["pad_token"] == "<|endoftext|>"
    assert all(tokenizer.token_to_id(token) is not None for token in ("<|im_start|>", "<|im_end|>", "<|endoftext|>"))


def test_demo_settings_point_at_files_that_exist():
    demo = yaml.safe_load((SAMPLE / "demo.yaml").read_text(encoding="utf-8"))
    assert "output_dir" not in demo
    assert all((SAMPLE / demo[name]).exists() for name in ("base_model", "train_path", "eval_path"))

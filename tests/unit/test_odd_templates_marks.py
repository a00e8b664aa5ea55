"""Which words are learned under odd templates: what the assistant says, or it is said that nothing can be told."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest

from engine.data import Chat
from engine.worker import ways
from engine.worker.many import marked
from engine.worker.marking import Marker
from tests.families import templates as t
from tests.families.made import tokenizer

S = {"role": "system", "content": "Be brief"}
U1, A1 = {"role": "user", "content": "Which day is it"}, {"role": "assistant", "content": "It is <Monday> today"}
U2, A2 = {"role": "user", "content": "What for"}, {"role": "assistant", "content": "Nobody knows 안녕"}
TWO = Chat([U1, A1, U2, A2])
END, PROMPT = "<|im_end|>", "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def written(body: str, loop: str = "messages", prompt: str = PROMPT) -> str:
    """ChatML with another body of each turn: ``SAID`` is what is said with its end."""
    body = body.replace("SAID", "m.content + '<|im_end|>'")
    return f"{{% for m in {loop} %}}{{{{ '<|im_start|>' + m.role + '\n' }}}}{body}{{{{ '\n' }}}}{{% endfor %}}{prompt}"


def learned(template: str, row: Chat = TWO, family: str = "chatml") -> list[str]:
    """The learned stretches; the batches of a run learn the same."""
    marker = Marker(tokenizer(family, template))
    one = marker.mark(row)
    (other,) = marked(marker, [row])
    assert not isinstance(other, Exception) and (other.ids, other.trained) == (one.ids, one.trained)
    pieces = marker.pieces(one, row)
    return ["".join(p.text for p in part) for bit, part in groupby(pieces, lambda p: p.trained) if bit]


def remarks(template: str, family: str = "chatml") -> dict[str, str]:
    return dict(Marker(tokenizer(family, template)).remarks())


BOTH = [A1["content"] + END, A2["content"] + END]


@pytest.mark.parametrize("template", [
    written("{% generation %}{{ SAID }}{% endgeneration %}"),
    "{% generation %}" + t.CHATML + "{% endgeneration %}",
    written("{% if m.role != 'user' %}{% generation %}{{ SAID }}{% endgeneration %}{% else %}{{ SAID }}{% endif %}"),
    written("{% if m.role == 'user' %}{% generation %}{{ SAID }}{% endgeneration %}{% else %}{{ SAID }}{% endif %}"),
    written("{% if m.role == 'assistant' %}{% generation %}{{ m.content[:4] }}{% endgeneration %}{{ m.content[4:] + '<|im_end|>' }}"
            "{% else %}{{ SAID }}{% endif %}"),
    # Within a macro the marks are counted from where the macro begins.
    "{% macro turn(m) %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|im_end|>' }}"
    "{% endgeneration %}{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{% endfor %}" + PROMPT,
    written("{% if m.role in ('assistant', 'tool') %}{% generation %}{{ SAID }}{% endgeneration %}{% else %}{{ SAID }}{% endif %}"),
], ids=["all", "loop", "system", "user", "half", "macro", "tool"])  # fmt: skip
def test_marks_around_the_wrong_words_are_not_relied_on(template: str) -> None:
    assert Marker(tokenizer("chatml", template)).way().name == ways.PREFIX
    assert learned(template) == BOTH
    assert learned(template, Chat([S, U1, A1])) == BOTH[:1]


@pytest.mark.parametrize("template", [
    written("{% if m.role == 'assistant' %}{% generation %}{{ SAID }}{% endgeneration %}{% else %}{{ SAID }}{% endif %}"),
    written("{% if m.role == 'assistant' %}{% generation %}{% generation %}{{ SAID }}{% endgeneration %}{% endgeneration %}"
            "{% else %}{{ SAID }}{% endif %}"),
    written("{% if m.role == 'assistant' %}{% generation %}{{ m.content[:4] }}{% endgeneration %}{% generation %}"
            "{{ m.content[4:] + '<|im_end|>' }}{% endgeneration %}{% else %}{{ SAID }}{% endif %}")])  # fmt: skip
def test_marks_around_the_right_words_are(template: str) -> None:
    assert Marker(tokenizer("chatml", template)).way().name == ways.OWN and learned(template) == BOTH


@pytest.mark.parametrize("more", [
    "{{ '\nThe end.' }}", "{{ '<|im_start|>system\nRemember!<|im_end|>\n' }}", "{{ '<|im_start|>assistant\n' }}",
    "{% if not add_generation_prompt %}{{ 'The end.' }}{% endif %}"], ids=["words", "turn", "prompt", "unasked"])  # fmt: skip
def test_a_footer_is_nobodys(more: str) -> None:
    assert learned(t.CHATML_WITHOUT_PROMPT + more) == BOTH
    assert learned(t.CHATML + more) == BOTH


def test_what_ends_a_text_is_learned_with_it() -> None:
    assert learned(t.CHATML + "{{ eos_token }}")[-1] == BOTH[1] + "\n<|im_end|>"
    # The last turn ends otherwise than the ones before it, in words that the tokenizer does not know as a token.
    other = written("{{ m.content + ('[return]' if loop.last and m.role == 'assistant' else '<|im_end|>') }}")
    assert learned(other, Chat([U1, A1])) == [A1["content"] + "[return]\n"]


def test_a_token_that_reaches_into_the_next_turn() -> None:
    """In the made vocabulary a line's end and the bracket behind it are one token."""
    plain = "{% for m in messages %}{{ '<x>' + m.role + ':' + m.content + '\n' }}{% endfor %}{% if add_generation_prompt %}" \
            "{{ '<x>assistant:' }}{% endif %}"  # fmt: skip
    assert [text.strip() for text in learned(plain, family="llama2")] == [A1["content"], A2["content"]]


@pytest.mark.parametrize(("what", "template"), [
    ("what the system message says", t.CHATML.replace("in messages", "in messages if message.role != 'system'")),
    ("what users say", t.CHATML.replace("in messages", "in messages if message.role != 'user'")),
    ("some turns of a chat", written("{{ SAID }}", "messages[-2:]")),
    ("between <think> and </think>", written("{{ m.content.split('</think>')[-1] + '<|im_end|>' }}")),
    ("who is speaking", "{% for m in messages %}{{ m.content + eos_token }}{% endfor %}"),
])  # fmt: skip
def test_what_is_left_out_is_said(what: str, template: str) -> None:
    assert what in remarks(template)["leaves-out"]


@pytest.mark.parametrize(("what", "template"), [
    ("what the assistant says", written("{{ m.content[:1000] + '<|im_end|>' }}")),
    ("what users say and what the assistant says", written("{{ m.content|e }}{{ '<|im_end|>' }}")),
    ("what users say", written("{{ m.content + m.content + '<|im_end|>' }}")),
    ("the order of a chat", written("{% if m.role == 'assistant' %}{% generation %}{{ SAID }}{% endgeneration %}{% else %}{{ SAID }}"
                                    "{% endif %}", "messages[::-1]")),
])  # fmt: skip
def test_what_is_changed_is_said(what: str, template: str) -> None:
    assert what in remarks(template)["changes-words"]
    assert what in dict(Marker(tokenizer("chatml", template), assistant_only=False).remarks())["changes-words"]


def test_the_time_of_day_is_said_and_the_date_is_not() -> None:
    assert "writes-time" in remarks("{{ strftime_now('%d %b %H:%M') }}" + t.CHATML)
    assert remarks("{{ strftime_now('%d %b %Y, %A') }}" + t.CHATML) == {}


def test_an_answer_that_is_written_otherwise_is_not_learned() -> None:
    """What the template makes of it is nothing that the data hold."""
    cut = written("{{ m.content[:12] + '<|im_end|>' }}")
    marker = Marker(tokenizer("chatml", cut))
    assert marker.mark(TWO).unproven == (1, 3)
    assert learned(cut, Chat([U1, {"role": "assistant", "content": "short one"}])) == ["short one" + END]
    spaced = written("{{ m.content.split()|join(' ') + '<|im_end|>' }}")
    assert learned(spaced, Chat([U1, {"role": "assistant", "content": " a\n\n b "}])) == ["a b" + END]


@pytest.mark.parametrize(("says", "template"), [
    ("otherwise than the data hold it", written("{{ m.content|upper + '<|im_end|>' }}")),
    ("what users say into the assistant's turn", written("{{ m.content }}{% if m.role == 'assistant' %}{{ messages[loop.index0 - 1].content }}"
                                                         "{% endif %}{{ '<|im_end|>' }}")),
    ("differently once an answer follows", "{{ messages|length }}" + t.CHATML)])  # fmt: skip
def test_why_nothing_can_be_told(says: str, template: str) -> None:
    assert says in Marker(tokenizer("chatml", template)).way().why_not


def test_a_template_that_wants_a_system_message() -> None:
    wants = "{% if messages[0].role != 'system' %}{{ raise_exception('needs one') }}{% endif %}" + t.CHATML
    assert learned(wants, Chat([S, *TWO.messages])) == BOTH


_ROLES = "{% for m in messages %}{{ USER if m.role == 'user' else SYSTEM if m.role == 'system' else ANSWER }}{% endfor %}PROMPT"


def family(user: str, system: str, answer: str, prompt: str = "") -> str:
    asks = f"{{% if add_generation_prompt %}}{{{{ {prompt} }}}}{{% endif %}}" if prompt else ""
    return _ROLES.replace("USER", user).replace("SYSTEM", system).replace("ANSWER", answer).replace("PROMPT", asks)


# By the shape of real families; what is learned of an answer is its text and what closes it.
SHAPES: dict[str, tuple[str, str, str]] = {
    "yi": (family("'<|im_start|>user\n' + m.content + '<|im_end|>\n<|im_start|>assistant\n'", "m.content", "m.content + '<|im_end|>\n'"),
           "", END),
    "minicpm": (family("'<user>' + m.content.strip() + '<AI>'", "m.content", "m.content.strip()"), "", ""),
    "deepseek 2": (family("'User: ' + m.content + '\n\n'", "m.content + '\n\n'", "'Assistant: ' + m.content + eos_token", "'Assistant:'"),
                   " ", "</s>"),
    "olmo 2": (family("'<|user|>\n' + m.content + '\n'", "m.content + '\n'",
                      "'<|assistant|>\n' + m.content + eos_token + ('' if loop.last else '\n')", "'<|assistant|>\n'"), "", "</s>"),
    "falcon": (family("'\nUser: ' + m.content", "m.content", "'\nFalcon: ' + m.content", "'\nFalcon:'"), " ", ""),
    "openchat": (family("'GPT4 Correct User: ' + m.content + '<|end_of_turn|>'", "m.content",
                        "'GPT4 Correct Assistant: ' + m.content + '<|end_of_turn|>'", "'GPT4 Correct Assistant:'"), " ", "<|end_of_turn|>"),
    "exaone": (family("'[|user|]' + m.content + '\n'", "'[|system|]' + m.content + '[|end|]\n'", "'[|assistant|]' + m.content + eos_token + '\n'",
                      "'[|assistant|]'"), "", "</s>"),
    "baichuan": (family("'<reserved_106>' + m.content", "m.content", "'<reserved_107>' + m.content", "'<reserved_107>'"), "", ""),
    "llama 3, always asking": (
        "{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content|trim + '<|eot_id|>' }}"
        "{% endfor %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}", "", "<|eot_id|>"),
    "granite": (family("'<|start_of_role|>user<|end_of_role|>' + m.content + '</s>\n'", "m.content",
                       "'<|start_of_role|>assistant<|end_of_role|>' + m.content + '</s>\n'", "'<|start_of_role|>assistant<|end_of_role|>'"),
                "", "</s>"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_of_families(name: str) -> None:
    template, before, after = SHAPES[name]
    made = "llama3" if "llama" in name else "chatml" if "yi" in name else "llama2"
    assert [text.rstrip("\n") for text in learned(template, family=made)] == [
        before + a["content"] + after for a in (A1, A2)
    ]


def test_many_rows_and_one_are_marked_alike() -> None:
    """With a footer, thoughts, rows that are refused and answers that are changed among them."""
    template = written("{{ m.content[:30] + '<|im_end|>' }}") + "{{ '\nThe end.' }}"
    marker = Marker(tokenizer("chatml", template), limit=40)
    rows: list[Any] = [
        Chat([*([S] if n % 3 else []), U1, {**A1, "content": "x" * n + " 안녕"}, *([U2, A2] * (n % 4))])
        for n in range(60)
    ]
    for row, other in zip(rows, marked(marker, rows), strict=True):
        one = marker.mark(row)
        assert not isinstance(other, Exception)
        assert (one.ids, one.trained, one.unproven, one.kept) == (other.ids, other.trained, other.unproven, other.kept)

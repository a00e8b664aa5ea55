"""Chat templates that nobody should use: refused by what is wrong with them, at their line, and before anything is rendered."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import paths, templates
from engine.data import Chat
from engine.errors import InputError
from engine.templates import parsing, reading
from engine.worker import bounds, chat, probing, ways
from engine.worker.inspect.answers import Answers, Refused
from engine.worker.marking import CannotRender, Marker
from tests.families import templates as t
from tests.families.made import tokenizer
from tests.support import fake_model

CHATML = t.CHATML
PAIR = [{"role": "user", "content": "Which day is it"}, {"role": "assistant", "content": "It is Monday today"}]


@pytest.mark.parametrize(("text", "line", "says"), [
    ("\n\n{% if %}x{% endif %}", 3, "Expected an expression"),
    ("\n{% for m in messages %}", 2, "Unexpected end of template"),
    ("\n\n\n{{ 1 | nosuchfilter }}", 4, "No filter named 'nosuchfilter'"),
    ("\n{{ 1 is nosuchtest }}", 2, "No test named 'nosuchtest'"),
    ("{% frobnicate %}", 1, "unknown tag 'frobnicate'"),
    ("\n{% include 'x' %}", 2, "include asks for another file"),
    ("{% if false %}\n{% import 'x' as x %}{% endif %}", 2, "import asks for another file"),
    ("{% from '/etc/passwd' import x %}", 1, "import asks for another file"),
    ("{% extends 'base' %}", 1, "extends asks for another file"),
    ("\n{{ ''.__class__ }}", 2, "reaches for '__class__'"),
    ("{{ ''['__class__'] }}", 1, "reaches for '__class__'"),
    ("{{ messages|attr('__class__') }}", 1, "reaches for '__class__'"),
    ("{{ messages|map(attribute='a.__init__')|list }}", 1, "reaches for 'a.__init__'"),
    ("{{ self._TemplateReference__context }}", 1, "reaches for '_TemplateReference__context'"),
    ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", 1, "the insides of Python"),
    ("{% block a %}{% endblock %}{% block a %}{% endblock %}", 1, "defined twice"),
    ("a\nb\0c", 2, "NUL"),
    ("{% break %}", None, "outside loop"),
    ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", None, "nested too deeply"),
    ("{% for m in messages %}" * 200 + "{% endfor %}" * 200, None, "too many levels"),
    ("{{ x }}" * 150_000, None, "longer than 1,000,000 characters"),
    ("{% generation %}", 1, "Unexpected end of template"),
    ("{% if x %}\n{% endgeneration %}{% endif %}", 2, "unknown tag 'endgeneration'"),
    ("{% if x %}{% generation %}\n{% endif %}{% endgeneration %}", 2, "unknown tag 'endif'"),
])  # fmt: skip
def test_faults_have_a_line(text: str, line: int | None, says: str) -> None:
    found, why = parsing.fault(text)
    assert says in why and found == line and not why.endswith(".")


@pytest.mark.parametrize("text", [
    "{{ 9**9**9 }}", "{{ 'x'|center(9999999999) }}", "{% autoescape 'x'|center(9999999999) %}{% endautoescape %}",
    "{{ 'x' * 10**11 }}", "{% set x = [1] * 999999999999 %}", "{% if 9**9**9 %}{% endif %}", "{{ 'a' ~ 'x' * 10**10 }}",
    "{% for i in range(10**9)|list %}{% endfor %}"])  # fmt: skip
def test_nothing_is_worked_out_while_it_is_read(text: str) -> None:
    begun = time.monotonic()
    assert parsing.fault(text) == (None, "") and time.monotonic() - begun < 2


def test_what_is_known_and_what_is_common_has_no_fault() -> None:
    good = [templates.text(name) for name in templates.NAMES]
    good += [t.CHATML_MARKED, "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{% endfor %}",
             "{{ strftime_now('%Y') }}{{ messages|tojson }}{% generation %}x{% endgeneration %}",
             "{% if x is defined %}{{ '__init__' }}{% endif %}{{ m['a_b'] }}"]  # fmt: skip
    assert [parsing.fault(text) for text in good] == [(None, "")] * len(good)


@pytest.mark.parametrize(("template", "says"), [
    (CHATML + "\n{{ ''.__class__ }}", "reaches for '__class__'"),
    (CHATML + "\n{% include 'x' %}", "include asks for another file"),
    (CHATML + "\n{{ 1 | nosuchfilter }}", "No filter named 'nosuchfilter'")])  # fmt: skip
def test_a_models_own_is_looked_at_as_well(template: str, says: str) -> None:
    assert reading.fault(template) == (None, ""), "it can be read"
    assert f"{says}" in Marker(tokenizer("smollm2", template)).way().why_not
    assert "(line 5 of the template)" in ways.never_renders(tokenizer("smollm2", template), template)


def refused(value: str) -> Any:
    with pytest.raises(InputError) as caught:
        templates.text(value)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(("name", "content", "says"), [
    ("rows.jsonl", b'{"messages": []}\n', "is no chat template"),
    ("rows.txt", b'{"messages": []}\n', "nothing in it is Jinja"),
    ("a.jinja", CHATML.encode("utf-16"), "not UTF-8"),
    ("a.jinja", CHATML.encode() + b"\n\0", "NUL"),
    ("a.jinja", b" \n\t\r\n", "is empty"),
    ("a.jinja", b"{{ messages.__class__ }}", "reaches for")])  # fmt: skip
def test_files_that_are_no_template(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    problem = refused(str(tmp_path / name))
    assert says in problem.message and problem.file == str(tmp_path / name) and problem.setting == "chat_template_path"


def test_what_is_no_file_is_called_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jinja")
    (tmp_path / "loop.jinja").symlink_to(tmp_path / "loop.jinja")
    for value in (tmp_path / "pipe.jinja", tmp_path / "loop.jinja", Path("/dev/zero")):
        assert "no regular file" in refused(str(value)).message
    assert "does not exist" in refused(str(tmp_path / "gone.jinja")).message


def test_an_editors_mark_is_no_text_and_lines_end_as_they_do(tmp_path: Path) -> None:
    file = tmp_path / "a.jinja"
    file.write_bytes(b"\xef\xbb\xbf{# a #}\r\n" + CHATML.encode())
    assert templates.text(str(file)) == "{# a #}\n" + CHATML
    model = fake_model(tmp_path / "model")
    (model / "chat_template.jinja").write_bytes(b"\xef\xbb\xbf" + CHATML.encode())
    assert reading.own(model) == CHATML


def test_of_a_huge_template_only_the_beginning_is_read(tmp_path: Path) -> None:
    model = fake_model(tmp_path / "model")
    with (model / "chat_template.jinja").open("wb") as file:
        file.write(CHATML.encode())
        file.seek(300_000_000)
        file.write(b" ")
    found = reading.own(model)
    assert found is not None and len(found) < 2_000_000 and "longer than" in parsing.fault(found)[1]


@pytest.mark.parametrize(("given", "proper"), [
    (5, None), (True, None), ("", None), (" \n", None), ({"a": 1}, None), ({"a": "x", "b": {}}, {"a": "x"}), ("\ufeffx", "x"),
    (["x"], None)])  # fmt: skip
def test_what_a_tokenizers_files_may_hold_instead(given: Any, proper: Any) -> None:
    assert chat._proper(given) == proper


def opened(template: str, **more: Any) -> dict[str, Any]:
    model = {"base_model": str(paths.sample_data_dir() / "tiny-qwen2"), "template": template}
    return Answers().answer({"ask": "open", "model": model, **more}, lambda: None)


SAME = "{% if messages %}Hello there, Good day{% endif %}"


@pytest.mark.parametrize(("template", "says"), [
    (SAME, "nor anything else of a chat"),
    ("{% for m in messages %}{% endfor %}", "nor anything else of a chat"),
    ("{% for m in messages %}{{ m.role }}{% endfor %}", "nor anything else of a chat"),
    (t.DEAF, "does not write what the assistant says"),
    (CHATML + "{{ range(99999)|random }}", "differently each time"),
    (CHATML + "{{ strftime_now('%f') }}", "differently each time"),
    (CHATML + "\n{{ nosuchfunction(1) }}", "'nosuchfunction' is undefined (line 5 of the template)"),
    (CHATML + "{{ raise_exception('') }}", "TemplateError (line 4"),
    (CHATML + "{{ '\\ud800' }}", "half a character in it (U+D800)"),
    (CHATML + "{% for a in range(99999) %}{% for b in range(50) %}{% endfor %}{% endfor %}", "s for a chat of two short messages"),
    (CHATML + "{{ 'x ' * 10**5 }}", "characters for a chat of two short messages"),
    ("{% if messages[-1].role != 'user' %}{{ raise_exception('not yours') }}{% endif %}" + CHATML, "not yours (line 1"),
    (CHATML + "{{ 'x ' * 2 * 10**6 }}", "writes 4,000,")])  # fmt: skip
def test_it_is_the_templates_fault_and_no_settings(template: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "SLOW_SECONDS", 0.05)
    for only in (True, False):
        (problem,) = [
            one for one in opened(template, assistant_only_loss=only)["problems"] if one["severity"] == "error"
        ]
        assert problem["kind"] == "bad-template" and says in problem["message"]


def test_several_templates_of_which_none_is_meant() -> None:
    made = tokenizer("smollm2", CHATML + "{# several #}")
    made.chat_template = {"rag": CHATML, "tool_use": CHATML}
    assert "several templates (rag, tool_use), and none of them is called default" in ways.never_renders(made, "")
    made.chat_template = {"rag": SAME, "default": CHATML}
    assert ways.never_renders(made, "") == ""


def test_a_row_that_is_refused_names_the_templates_line() -> None:
    strict = "{% if messages[0].role == 'system' %}\n{{ raise_exception('No system, please.') }}{% endif %}" + CHATML
    with pytest.raises(CannotRender, match=r"render it: No system, please \(line 2 of the template\)"):
        Marker(tokenizer("smollm2", strict)).mark(Chat([{"role": "system", "content": "Be brief"}, *PAIR]))


HARD = """
import json, os, signal, sys, time
from engine.worker import bounds
bounds.SECONDS = 0.2
if "on" in sys.argv:
    bounds.switch_on()
one, two = [1], [1]
for _ in range(60):
    one, two = [one, one], [two, two]
work = {"never": lambda: one == two, "loops": lambda: endless(), "ends": lambda: 1 / 0, "dies": lambda: os.kill(os.getpid(), 9)}
def endless():
    with bounds.limited():
        while True:
            pass
began, out = time.monotonic(), {}
for name, what in work.items() if "on" in sys.argv else [("loops", None)]:
    try:
        out[name] = bounds.ends(name, what) if what else endless()
    except (bounds.Endless, bounds.TooMuch) as error:
        out[name] = str(error)
bounds.ends("ends", lambda: os._exit(9))  # it is known
print(json.dumps([out, time.monotonic() - began]))
"""


def test_what_no_signal_ends_is_seen_in_another_process() -> None:
    run = subprocess.run([sys.executable, "-c", HARD, "on"], capture_output=True, text=True, timeout=60, check=True)
    out, seconds = json.loads(run.stdout)
    never = "the chat template does not come to an end within 0.2 s"
    assert out == {
        "never": never,
        "loops": never,
        "ends": None,
        "dies": "the chat template ends the process that renders it",
    }
    assert seconds < 20


def test_time_is_limited_where_a_run_tokenises_too() -> None:
    run = subprocess.run([sys.executable, "-c", HARD], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(run.stdout)[0] == {"loops": "the chat template does not come to an end within 0.2 s"}


def test_it_is_told_from_one_process_to_another() -> None:
    assert str(pickle.loads(pickle.dumps(bounds.Endless()))) == str(bounds.Endless())


def test_plain_text_asks_for_no_template() -> None:
    marker = Marker(tokenizer("smollm2", SAME), assistant_only=False)
    assert marker.mark(Chat([PAIR[1]], text="It is Monday")).learned
    with pytest.raises(CannotRender, match="cannot be used: it does not write"):
        marker.mark(Chat(PAIR))
    with pytest.raises(Refused):
        Answers().answer({"ask": "tokens", "model": {"base_model": str(paths.sample_data_dir() / "tiny-qwen2"), "template": SAME},
                          "chat": {"messages": PAIR}}, lambda: None)  # fmt: skip

"""Reads a chat template as the libraries will, without running any of it: its faults, and what no chat template may ask for."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension
from jinja2.sandbox import SandboxedEnvironment

from engine.text import clean

LARGEST = 1_000_000
"""Characters; no template that was seen has a tenth of it."""
Fault = tuple[int | None, str]
_OTHER_FILES: dict[type, str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
}
# Filters whose arguments name attributes.
_REACHING = frozenset({"attr", "map", "selectattr", "rejectattr", "groupby", "sort", "unique", "sum", "min", "max"})


class _Generation(Extension):
    """The tag of transformers around what the assistant says."""

    tags = {"generation"}

    def parse(self, parser: Any) -> nodes.Node:
        """As transformers does."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("said"), [], [], body).set_lineno(line)

    def said(self, caller: Any) -> str:
        """Never called: nothing is rendered here."""
        return ""


class _Unfolded(CodeGenerator):
    """Works nothing out while it writes the program: a constant can take all memory, or for ever."""

    def _output_child_to_const(self, *_: Any) -> str:
        raise nodes.Impossible

    def visit_EvalContextModifier(self, node: nodes.EvalContextModifier, frame: Any) -> None:
        """Switches escaping, by a value that would be worked out."""


class _Environment(SandboxedEnvironment):
    code_generator_class = _Unfolded


@functools.lru_cache(maxsize=8)
def unreadable(template: str) -> Fault:
    """What keeps a text from being read as a chat template, with its line; an empty text if nothing does."""
    if len(template) > LARGEST:
        return None, f"it is longer than {LARGEST:,} characters"
    odd = template.find("\0")
    if odd >= 0:
        return template.count("\n", 0, odd) + 1, "it holds a NUL character, as no text does"
    return _told(lambda reader: reader.parse(template))


@functools.lru_cache(maxsize=8)
def fault(template: str) -> Fault:
    """What keeps a chat template from being used: it cannot be read, or asks for what there is not, or must not."""
    found = unreadable(template)
    if found[1]:
        return found

    def written(reader: _Environment) -> None:
        tree = reader.parse(template)
        reaching = _reaching(tree)
        if reaching is not None:
            raise jinja2.TemplateSyntaxError(reaching[1], reaching[0] or 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = reader.compile(tree, raw=True)
            compile(program, "<template>", "exec", dont_inherit=True, optimize=0)  # it is not run

    return _told(written)


def _told(work: Callable[[_Environment], object]) -> Fault:
    """What jinja, or Python, says to it."""
    try:
        work(_Environment(extensions=["jinja2.ext.loopcontrols", _Generation], autoescape=False, optimized=False))
    except jinja2.TemplateSyntaxError as error:
        return error.lineno, clean(error.message, 200).rstrip(".")
    except SyntaxError as error:
        return None, clean(error.msg, 200)  # its line is that of the program, not the template's
    except (RecursionError, MemoryError):
        return None, "it is nested too deeply"
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        return None, f"it is no template ({clean(error, 100)})"
    return None, ""


def _reaching(tree: nodes.Template) -> Fault | None:
    """Where a template asks for other files or for the insides of Python."""
    asking: nodes.Node
    for asking in tree.find_all(tuple(_OTHER_FILES)):
        return asking.lineno, f"{_OTHER_FILES[type(asking)]} asks for another file, which a chat template does not have"
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)):
        for name in _names(node):
            if "__" in name and re.fullmatch(r"[\w.]+", name):
                why = f"it reaches for {clean(name, 60)!r}, the insides of Python, which no chat template needs"
                return node.lineno, why
    return None


def _names(node: nodes.Node) -> list[str]:
    """The attributes that a node names."""
    if isinstance(node, nodes.Getattr):
        return [node.attr]
    given: list[Any] = []
    if isinstance(node, nodes.Getitem):
        given = [node.arg]
    elif isinstance(node, nodes.Filter) and node.name in _REACHING:
        given = [*node.args, *(one.value for one in node.kwargs)]
    return [one.value for one in given if isinstance(one, nodes.Const) and isinstance(one.value, str)]

"""Renders chats as ``apply_chat_template`` does, without the work that it repeats for every rendering of the same chat."""

from __future__ import annotations

from typing import Any

from engine.worker import bounds, prefixes, ways

# Parts of transformers that have no public name. Where they are not as they were, its public function renders instead.
try:
    from transformers.tokenization_utils_base import PreTrainedTokenizerBase
    from transformers.utils.chat_template_utils import (
        _alias_reasoning_fields,
        _compile_jinja_template,
        _normalize_chat_messages,
        _plain_template_data,
        _render_with_assistant_indices,
    )
except ImportError:  # pragma: no cover - another version of transformers
    _compile_jinja_template = None

Span = tuple[int, int]


def can_render(tokenizer: Any) -> bool:
    """Whether this tokenizer renders and encodes chats in the usual way, none of its own."""
    if _compile_jinja_template is None or not tokenizer.is_fast:
        return False
    kind = type(tokenizer)
    usual = (
        getattr(kind, name, None) is getattr(PreTrainedTokenizerBase, name)
        for name in ("apply_chat_template", "__call__")
    )
    return all(usual)  # fmt: skip


class Rendering:
    """Renders with one tokenizer's special tokens; only for tokenizers that :func:`can_render` knows."""

    def __init__(self, tokenizer: Any) -> None:
        self._named = _plain_template_data(dict(tokenizer.special_tokens_map))

    def marked(self, template: str, messages: list[Any], tools: list[Any] | None) -> tuple[str, list[Span]]:
        """The text of a chat and where in it the template's own marks are. Raises what the template raises."""
        with bounds.limited():
            text, spans = _render_with_assistant_indices(
                compiled_template=_compile_jinja_template(template), messages=_plain(messages), tools=_tools(tools),
                documents=None, add_generation_prompt=False, **self._named)  # fmt: skip
        return bounds.measured(str(text), messages), list(spans)

    def whole(self, template: str, messages: list[Any], tools: list[Any] | None) -> str:
        """The text of a chat. Raises what the template raises."""
        with bounds.limited():
            text = _compile_jinja_template(template).render(messages=_plain(messages), tools=_tools(tools), documents=None,
                                                            add_generation_prompt=False, **self._named)  # fmt: skip
        return bounds.measured(str(text), messages)

    def found(self, way: ways.Way, messages: list[Any], tools: list[Any] | None) -> prefixes.Found:
        """The text of a chat and where the assistant's turns are, by rendering its beginnings."""
        template, given = _compile_jinja_template(way.template), _tools(tools)

        def render(some: list[Any], asks: bool) -> str:
            if not some:  # as apply_chat_template refuses it
                raise ValueError("an empty chat")
            with bounds.limited():
                text = template.render(messages=some, tools=given, documents=None, add_generation_prompt=asks,
                                       **self._named)  # fmt: skip
            return bounds.measured(str(text), some)

        return prefixes.find(render, _plain(messages), way.habits)


def _plain(messages: list[Any]) -> list[Any]:
    """What a template sees of messages."""
    if not messages:
        raise ValueError("Cannot apply chat template to an empty conversation. Provide at least one message.")
    if all(type(message) is dict and len(message) == 2 and type(message.get("role")) is str
           and type(message.get("content")) is str for message in messages):  # fmt: skip
        return messages  # nothing to change; templates run where they cannot change anything either
    return list(_alias_reasoning_fields(_plain_template_data(_normalize_chat_messages(messages))))


def _tools(tools: list[Any] | None) -> list[Any] | None:
    if tools is not None and not all(isinstance(tool, dict) for tool in tools):
        raise ValueError("Tools should either be a JSON schema, or a callable function")
    return _plain_template_data(tools)

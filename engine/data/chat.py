"""One sample as it is trained on, whatever the file it came from looked like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]


@dataclass(slots=True)
class Chat:
    """A row's messages (``role`` and ``content``, for tool calls more), and the tools that were offered.

    ``text`` is set for a row of plain text: it is learned as it stands, without a chat template; its one message is the
    same text as an answer to nothing.
    """

    messages: list[Message]
    tools: list[Any] | None = None
    text: str | None = None

    @property
    def answered(self) -> bool:
        """Whether an assistant says or calls something."""
        return any(message["role"] == "assistant" and is_answer(message) for message in self.messages)

    @property
    def plain(self) -> bool:
        """Whether every message is a role and a content, and nothing else."""
        return self.tools is None and all(len(message) == 2 for message in self.messages)


def is_answer(message: Message) -> bool:
    """Whether an assistant's message holds anything to learn."""
    content = message["content"]
    return bool(content and not content.isspace()) or bool(message.get("tool_calls"))

"""Generated chats: Korean, emoji, several turns, tools, system's words, empty turns, text that looks like marks."""

from __future__ import annotations

import random
from typing import Any

WORDS = ["Hello", "서울은", "수도입니다", "what", "is 42", "😀", "👩‍👩‍👧 가족", "  spaced  ", "line\nbreak", "\n\nstarts low", "ends low\n",
         "tab\there", "don't", "def f(x):\n    return x", "<b>", "</think>", "[INST]", "### Response:", "é\u0301", "각", "🇰🇷",
         "x" * 40, "…", "naïve", "assistant", "user\n"]  # fmt: skip
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "날씨", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip
Row = tuple[list[dict[str, Any]], list[Any] | None]


def chats(count: int, *, seed: int = 1, system: bool = True, tools: bool = True, strict: bool = False) -> list[Row]:
    """Rows of (messages, tools). ``strict`` keeps to question and answer in turn, as some templates want it."""
    rng = random.Random(seed)
    return [_chat(rng, system, tools, strict) for _ in range(count)]


def _text(rng: random.Random, empty: float = 0.0) -> str:
    return "" if rng.random() < empty else " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 7)))


def _chat(rng: random.Random, system: bool, tools: bool, strict: bool) -> Row:
    messages: list[dict[str, Any]] = []
    if system and rng.random() < 0.4:
        messages.append({"role": "system", "content": _text(rng)})
    with_tools = tools and rng.random() < 0.2
    for turn in range(rng.randint(1, 4)):
        messages.append({"role": "user", "content": _text(rng, 0.03)})
        if with_tools and rng.random() < 0.6:
            call = {
                "type": "function",
                "function": {"name": "get_weather", "arguments": {"city": rng.choice(["서울", "Paris"])}},
            }
            messages.append(
                {"role": "assistant", "content": "" if rng.random() < 0.7 else _text(rng), "tool_calls": [call]}
            )
            messages.append({"role": "tool", "name": "get_weather", "content": '{"celsius": 21}'})
        messages.append({"role": "assistant", "content": _text(rng, 0.08 if turn else 0.0)})
        if not strict and rng.random() < 0.05:
            messages.append({"role": "assistant", "content": _text(rng)})
    if not strict and rng.random() < 0.05:
        messages.append({"role": "user", "content": _text(rng)})
    return messages, [TOOL] if with_tools else None

"""The model card (``README.md``) that trainers write: base model, hyperparameters, results, and Axolotl's YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from engine.history.readers import yamltext
from engine.history.readers.log import Log
from engine.history.readers.numbers import count, number, text
from engine.history.readers.textfiles import Found

NAME = "README.md"
LIMIT = 512 * 1024
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_AXOLOTL = re.compile(r"axolotl version: `([^`\n]{1,40})`\s{0,10}```yaml\r?\n")
_PAIR = re.compile(r"^[-*] (?:\*\*)?([A-Za-z_]\w{2,40})(?:\*\*)?: (.{1,300})$", re.MULTILINE)
_LIBRARIES = "PEFT|TRL|Transformers|Pytorch|PyTorch|Datasets|Tokenizers|Accelerate|Unsloth"
_VERSION = re.compile(rf"^[-*] ({_LIBRARIES}):? `?([\w.+\-]{{1,40}})`?[ \t]*$", re.MULTILINE)
_RESULT = re.compile(r"^[-*] ([A-Z][\w \-@/]{0,40}): (-?[\d.]+(?:e[-+]?\d+)?|nan|inf)[ \t]*$", re.MULTILINE)
_TUNED = re.compile(r"fine-tuned version of \[([^\]\n]{1,300})\]")
_UNSLOTH_BASE = re.compile(r"^- \*\*Finetuned from model ?:\*\* (\S{1,300})[ \t]*$", re.MULTILINE)
_SECTION = re.compile(r"^#{2,4} (.{1,60})$", re.MULTILINE)
# Words that only a card of a training has.
SIGNS = ("generated automatically according to the information the Trainer had access to", "generated_from_trainer",
         "This model is a fine-tuned version of", "Training hyperparameters", "axolotl version:", "Built with Axolotl",
         "trained using [TRL]", "trained 2x faster", "fine-tuned using [LLaMA-Factory]")  # fmt: skip
_TAGS = frozenset({"generated_from_trainer", "trl", "axolotl", "llama-factory", "sft", "dpo", "grpo"})


@dataclass(slots=True)
class Card:
    """What a model card tells."""

    base_model: str | None = None
    tags: frozenset[str] = frozenset()
    settings: dict[str, Any] = field(default_factory=dict)
    axolotl: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    datasets: list[str] = field(default_factory=list)
    log: Log | None = None
    training: bool = False
    signs: frozenset[str] = frozenset()
    problem: str = ""


def is_training(data: bytes) -> bool:
    """Whether a text is the card of a training, told by its beginning: a page about trainings has no head in YAML."""
    head = data[:8192].decode("utf-8", "replace")
    if SIGNS[0] in head or _AXOLOTL.search(head):
        return True
    return head.lstrip().startswith("---") and (
        any(sign in head for sign in SIGNS) or bool(_tags(_front(head)) & _TAGS)
    )


def read(found: Found) -> Card:
    """What the card says; never raises."""
    if not found.data or found.partial:
        return Card(problem=found.problem)
    body = found.data[:LIMIT].decode("utf-8", "replace")
    front = _front(body)
    card = Card(tags=_tags(front), training=is_training(found.data))
    card.signs = frozenset(sign for sign in SIGNS if sign in body) | (
        frozenset({"unsloth"}) if "2x faster with [Unsloth" in body else frozenset()
    )
    card.base_model = _base(front, body)
    named = front.get("datasets")
    card.datasets = [
        name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str) and name
    ][:20]
    match = _AXOLOTL.search(body)
    if match:
        end = body.find("\n```", match.end())
        card.axolotl = yamltext.loads(body[match.end() : end if end > 0 else len(body)])
        card.versions["axolotl"] = match[1]
    for name, value in _VERSION.findall(body):
        card.versions[name.lower().replace("pytorch", "torch")] = value
    card.settings = _hyperparameters(body)
    card.results = _results(body)
    card.log = _table(body)
    return card


def _front(body: str) -> dict[str, Any]:
    match = _FRONT.match(body)
    if not match:
        return {}
    return yamltext.loads(match[1])


def _tags(front: dict[str, Any]) -> frozenset[str]:
    found = front.get("tags")
    found = [found] if isinstance(found, str) else found
    return frozenset(tag.lower() for tag in found if isinstance(tag, str)) if isinstance(found, list) else frozenset()


def _base(front: dict[str, Any], body: str) -> str | None:
    found = front.get("base_model")
    if isinstance(found, list) and found:
        found = found[0]
    match = _TUNED.search(body) or _UNSLOTH_BASE.search(body)
    return text(found) or (text(match[1]) if match else None)


def _section(body: str, title: str) -> str:
    """The text below a heading, up to the next one."""
    headings = list(_SECTION.finditer(body))
    for place, heading in enumerate(headings):
        if heading[1].strip().lower() == title:
            end = headings[place + 1].start() if place + 1 < len(headings) else len(body)
            return body[heading.end() : end]
    return ""


def _hyperparameters(body: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _PAIR.findall(_section(body, "training hyperparameters")):
        found[name] = value.strip().strip("`")
    optimizer = found.get("optimizer")
    if isinstance(optimizer, str):
        named = re.search(r"OptimizerNames\.(\w+)|^Use (\w+) with", optimizer)
        found["optimizer"] = ((named[1] or named[2]).lower()) if named else optimizer.partition(" with ")[0]
    return found


def _results(body: str) -> dict[str, float]:
    place = body.find("following results on the evaluation set:")
    if place < 0:
        return {}
    found = {}
    part = body[place : place + 4000]
    heading = _SECTION.search(part)
    for name, value in _RESULT.findall(part[: heading.start()] if heading else part):
        plain = number(value)
        if plain is not None:
            found[f"eval_{name.strip().lower().replace(' ', '_')}"] = plain
    return found


def _table(body: str) -> Log | None:
    """The table of training results: one row an evaluation, with the training loss that was last logged."""
    lines = [line.strip() for line in _section(body, "training results").splitlines() if line.strip().startswith("|")]
    if len(lines) < 3:
        return None
    names = [cell.strip().lower() for cell in lines[0].strip("|").split("|")]
    if "step" not in names:
        return None
    rows: list[dict[str, Any]] = []
    for line in lines[2:5000]:
        cells = dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=False))
        step = count(cells.pop("step", None))
        if step is None:
            continue
        row: dict[str, Any] = {"step": step, "epoch": number(cells.pop("epoch", None))}
        loss = number(cells.pop("training loss", None))
        if loss is not None:
            row["loss"] = loss
        for name, cell in cells.items():
            value = number(cell)
            if value is not None and name:
                row["eval_loss" if name == "validation loss" else f"eval_{name.replace(' ', '_')}"] = value
        rows.append(row)
    return Log(NAME, rows, sampled=True) if rows else None

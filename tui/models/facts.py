"""All that is known of one model, beside the list or below it."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.text import clean
from tui import format as fmt
from tui.glyphs import glyphs
from tui.models import values
from tui.models.codefiles import Brought
from tui.models.folders import incomplete
from tui.models.ledger import Offer
from tui.widgets.lines import Line, crop

if TYPE_CHECKING:
    from engine.hardware import Gpu
    from engine.models.catalogue import Model
    from engine.models.hub import HubAnswer

LABEL = 14
FOOT = 6
# What an answer of the hub means, in a word.
ANSWERS = {"ok": "on the hub", "missing": "not on the hub", "gated": "gated", "bad-token": "token refused",
           "no-revision": "no such revision", "offline": "hub switched off", "timeout": "no answer in time",
           "unreachable": "hub not reached"}  # fmt: skip


@dataclass(slots=True)
class Seen:
    """What the screen knows besides the list: the hub's answers, paths that were looked at, code, and the GPU."""

    answers: dict[tuple[str, str | None], HubAnswer] = field(default_factory=dict)
    paths: dict[str, Model | None] = field(default_factory=dict)
    below: dict[str, tuple[Model, ...]] = field(default_factory=dict)
    code: dict[Path, Brought] = field(default_factory=dict)
    gpu: Gpu | None = None
    searched: bool = False
    seconds_left: int | None = None

    def model(self, row: Any) -> Model | None:
        """The model of a row that stands for one."""
        if isinstance(row, Offer):
            return self.paths.get(row.name) if row.kind == "directory" else None
        found: Model | None = row
        return found

    def answer(self, row: Any) -> HubAnswer | None:
        """What the hub said of a row that is a question to it."""
        is_question = isinstance(row, Offer) and row.kind == "hub"
        return self.answers.get((row.name, row.revision)) if is_question else None


def pane(row: Any, seen: Seen, width: int) -> list[Line]:
    """The side pane."""
    if row is None:
        return []
    model, answer = seen.model(row), seen.answer(row)
    title = values.name(model) if model is not None else clean(row.name, 400)
    lines: list[Line] = [[(part, "title")] for part in _wrap(fmt.cells(title), width)]
    lines.append([])
    if model is not None:
        facts, said = _of_model(model, seen), _warnings(model)
    elif answer is not None:
        facts, said = _of_answer(answer, row.revision), _of_the_hub(answer, row)
    else:
        return lines + [[(part, "muted")] for part in _wrap(_offered(row, seen), width)]
    for label, text in facts:
        for number, part in enumerate(_wrap(text, width - LABEL)):
            lines.append([((label if not number else "").ljust(LABEL), "muted"), (part, "text")])
    for number, (sign, text, colour) in enumerate(said):
        if facts or number:
            lines.append([])
        lines += [[(f"{' ' if n else sign} {part}", colour)] for n, part in enumerate(_wrap(text, width - 2))]
    return lines


def foot(row: Any, seen: Seen, width: int) -> list[Line]:
    """The same in :data:`FOOT` lines of a small terminal, the first of them a rule."""
    lines: list[Line] = [[(glyphs().rule * width, "rule")]]
    if row is not None:
        lines += _in_brief(row, seen, width)
    return [crop(line, width) for line in lines[:FOOT]] + [[]] * (FOOT - len(lines))


def _in_brief(row: Any, seen: Seen, width: int) -> list[Line]:
    model, answer = seen.model(row), seen.answer(row)
    dot = f" {glyphs().dot} "
    if model is not None:
        facts = dict(_of_model(model, seen))
        said = _warnings(model)
        first = [
            facts["Parameters"].partition(" (")[0],
            facts["Size"],
            facts.get("Architecture", ""),
            f"template {facts['Template']}",
        ]
        second = [facts["Memory"]]
        third = [facts.get("Commit", "")[:12], facts["Path"]]
        lines: list[Line] = [[(fmt.shorten(fmt.cells(values.name(model)), width, "middle"), "title")]]
    elif answer is not None:
        facts = dict(_of_answer(answer, row.revision))
        said = _of_the_hub(answer, row)
        first = [facts[name] for name in ("Parameters", "Size", "Architecture", "Licence") if facts.get(name)]
        second = [facts.get("Access", ""), facts.get("Code", "")]
        third = []
        lines = [[(fmt.shorten(clean(row.name, 400), width, "middle"), "title")]]
    else:
        return [[(part, "muted")] for part in _wrap(_offered(row, seen), width)]
    for sign, text, colour in said[:1]:
        lines += [[(f"{' ' if n else sign} {part}", colour)] for n, part in enumerate(_wrap(text, width - 2)[:2])]
    for parts in (first, second, third):
        text = dot.join(part for part in parts if part)
        if text:
            lines.append([(text, "muted")])
    return lines


def _of_model(model: Model, seen: Seen) -> list[tuple[str, str]]:
    count = values.parameters(model.parameters)
    exact = f" ({model.parameters:,})" if model.parameters is not None and model.parameters > 999 else ""
    kind = (
        f" ({clean(model.model_type, 40)})"
        if model.model_type and model.model_type not in model.architecture.lower()
        else ""
    )
    facts = [
        ("Parameters", count + exact),
        ("Size", f"{fmt.size(model.bytes)}{', ' if model.dtype else ''}{clean(model.dtype, 30)}"),
        ("Memory", _memory(model, seen)),
        ("Architecture", values.or_dash(model.architecture, 100) + kind),
        ("Template", _template_words(model)),
        ("Licence", values.or_dash(model.licence)),
        ("Code", _code(model, seen)),
        ("Where", f"{clean(model.source, 40)}, used {fmt.age(model.used, time.time())}" if model.used else clean(model.source, 40)),
        ("Path", values.short_path(model.path)),
    ]  # fmt: skip
    if model.commit:
        facts.insert(-1, ("Commit", clean(model.commit, 60)))
    return facts


def _template_words(model: Model) -> str:
    return {"": "none", "own": "one of its own"}.get(model.template) or clean(model.template, 40)


def _code(model: Model, seen: Seen) -> str:
    if not model.code:
        return "none of its own"
    need = "needs its own Python code" if model.needs_code else "brings Python code, is built without it"
    brought = seen.code.get(model.path)
    code = brought.code if brought is not None else None
    if brought is None or code is None:
        return need
    names = ", ".join(
        f"{clean(name, 80)} ({fmt.size(size)})" for name, size in zip(code.files, code.sizes, strict=False)
    )
    agreed = "; you have agreed to it" if brought.agreed else ""
    return f"{need}: {fmt.shorten(names, 300)}{agreed}"


def _memory(model: Model, seen: Seen) -> str:
    """Whether the weights alone would fit, as a first rough word."""
    if model.bytes is None:
        return "size unknown"
    if seen.gpu is None:
        return "no GPU seen here" if seen.searched else glyphs().ellipsis
    free, where = seen.gpu.memory_free, f"on GPU {seen.gpu.index}"
    weights = f"weights {fmt.size(model.bytes)} of {fmt.size(free)} free {where}"
    return (
        f"{weights}: too large as they are" if model.bytes > free else f"{weights} (training needs more than weights)"
    )


def _warnings(model: Model) -> list[tuple[str, str, str]]:
    """Sign, text, colour."""
    g = glyphs()
    out = []
    if incomplete(model):
        said = clean(model.trouble, 300)
        out.append((g.warning, f"{said[:1].upper()}{said[1:]}. Enter asks the hub about the rest", "warning"))
    elif model.trouble:
        out.append((g.cross, f"{clean(model.trouble, 300)}: it cannot be fine-tuned here", "error"))
    elif model.needs_code:
        out.append(
            (g.warning, "Its own Python code would run here: you are asked first, and shown which files", "warning")
        )
    if not model.template and not model.trouble:
        out.append((g.warning, "No chat template: set chat_template_path, or train on plain text", "warning"))
    return out


def _of_answer(answer: HubAnswer, revision: str | None) -> list[tuple[str, str]]:
    if answer.kind != "ok":
        return []
    template = "" if answer.template is None else "yes" if answer.template else "none"
    code = (
        "needs its own Python code"
        if answer.needs_code
        else "brings Python code, is built without it"
        if answer.code
        else "none"
    )
    size = f"{fmt.size(answer.bytes)} to download" + (f", {clean(answer.dtype, 30)}" if answer.dtype else "")
    facts = [
        ("Parameters", values.parameters(answer.parameters)),
        ("Size", size if answer.bytes is not None else values.or_dash(answer.dtype)),
        ("Architecture", values.or_dash(answer.architecture, 100)),
        ("Template", template),
        ("Licence", values.or_dash(answer.licence)),
        ("Access", "gated, and your token may read it" if answer.gated else "open"),
        ("Code", code),
        ("Revision", clean(revision or "", 100)),
        ("Commit", clean(answer.commit or "", 60)),
    ]
    return [(label, text) for label, text in facts if text]


def _of_the_hub(answer: HubAnswer, row: Offer) -> list[tuple[str, str, str]]:
    g = glyphs()
    if answer.kind == "ok" and not answer.trouble:
        out = [
            (g.check, "It is on the hub. Enter takes it into the form; it is downloaded when the run starts", "success")
        ]
        if answer.needs_code:
            out.append((g.warning, fetch_words(row.name, row.revision), "warning"))
        return out
    if answer.kind == "ok":
        return [(g.cross, f"{clean(answer.trouble, 300)}: it cannot be fine-tuned here", "error")]
    hint = f". {clean(answer.hint, 400)}" if answer.hint else ""
    colour = "warning" if answer.kind in ("offline", "timeout", "unreachable") else "error"
    return [(g.warning if colour == "warning" else g.cross, f"{clean(answer.message, 400)}{hint}", colour)]


def fetch_words(name: str, revision: str | None) -> str:
    """How to get the code of a model that is not here yet, to be read before anybody agrees to it."""
    at = f" --revision {clean(revision, 100)}" if revision else ""
    command = f"hf download {clean(name, 200)}{at} --include '*.py' '*.json'"
    return f"Its own Python code would run here. Enter fetches it to be read, and asks you first; so does: {command}"


def _offered(row: Offer, seen: Seen) -> str:
    if row.kind == "hub":
        if seen.seconds_left is not None:
            return f"Asking the hub, {seen.seconds_left} s left; esc gives it up"
        return "Enter asks the hub whether it is there, how large it is and under which licence, and whether it needs a token or code"
    count = len(seen.below.get(row.name, ()))
    if count:
        what = "a model lies" if count == 1 else f"{count} models lie"
        return f"It is no model itself, but {what} in it: take one from the list, or tab completes the path"
    if row.name in seen.paths:
        return "No model lies there: a model's directory holds config.json and its weights. Tab completes the path"
    return "Tab completes the path"


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(fmt.cells(text), max(10, width), break_on_hyphens=False) or [""]

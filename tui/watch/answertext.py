"""The model's answers as lines: all of one step, or one prompt's answers at all steps, so that one sees them change."""

from __future__ import annotations

from dataclasses import dataclass, field

from textual.content import Content

from tui import format as fmt
from tui.glyphs import glyphs
from tui.watch.answers import Answer, Answers
from tui.widgets.lines import Line

# Of a long run's changes so many are laid out, the newest.
MOST_BLOCKS = 300
# Longer lines are hard to read.
WIDEST = 100
LIST_WIDTH = 16
_INDENT = "  "


@dataclass(slots=True)
class Page:
    """Lines, and where a prompt's number (of one step) or a round's number (of one prompt) begins among them."""

    lines: list[Line] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)


def wrapped(text: str, width: int) -> list[str]:
    """A cleaned text in lines of at most ``width`` cells; wide characters are never split."""
    lines: list[str] = []
    for paragraph in fmt.cells(text).split("\n"):
        lines += [line.plain.rstrip() for line in Content(paragraph).wrap(max(2, width))] or [""]
    return lines


def one_step(answers: Answers, place: int, chosen: int, width: int) -> Page:
    """All prompts with their answers at one step; the chosen prompt is marked."""
    page = Page()
    given = answers.rounds[place].answers
    for number in sorted(given):
        mark, colour = (glyphs().cursor, "accent") if number == chosen else (" ", "muted")
        if page.lines:
            page.lines.append([])
        page.places[number] = len(page.lines)
        page.lines.append([(f"{mark} ", "accent"), (f"prompt {number + 1} of {len(answers.prompts)}", colour)])
        page.lines += _texts(answers.prompts[number], "title", width)
        page.lines.append([])
        page.lines += _answer(given[number], width)
        page.lines.append([(_INDENT, "text"), *_figures(given[number], _since(answers, place, number))])
    return page


def all_steps(answers: Answers, prompt: int, chosen: int, width: int) -> Page:
    """One prompt, and below it its answers, the newest first; steps in a row with the same answer stand together."""
    page = Page()
    page.lines.append([("  ", "accent"), (f"prompt {prompt + 1} of {len(answers.prompts)}, all steps", "accent")])
    page.lines += _texts(answers.prompts[prompt], "title", width)
    for newest, oldest in _groups(answers, prompt):
        page.lines.append([])
        first, last = answers.rounds[oldest].step, answers.rounds[newest].step
        marked = oldest <= chosen <= newest
        mark, colour = (glyphs().cursor, "accent") if marked else (" ", "muted")
        title = f"step {last:,}" if newest == oldest else f"steps {first:,} to {last:,}"
        answer = answers.rounds[newest].answers[prompt]
        for place in range(oldest, newest + 1):
            page.places[place] = len(page.lines)
        page.lines.append([(f"{mark} ", "accent"), (title, colour), ("  ", "text"), *_figures(answer, None)])
        page.lines += _answer(answer, width)
    return page


def step_list(answers: Answers, chosen: int, prompt: int, height: int) -> list[Line]:
    """The steps, newest first, around the chosen one; a sign where the prompt's answer is not the one before."""
    g = glyphs()
    rows = max(1, height - 2)
    newest = len(answers.rounds) - 1
    above = min(max(0, newest - chosen - rows // 2), max(0, newest + 1 - rows))
    lines: list[Line] = [[("step", "muted")]]
    for place in range(newest - above, max(-1, newest - above - rows), -1):
        changed = _since(answers, place, prompt) is None and prompt in answers.rounds[place].answers and place > 0
        text = fmt.fit(f"{answers.rounds[place].step:,}", LIST_WIDTH - 6, "right")
        colour = "title" if place == chosen else "muted"
        lines.append(
            [
                (f"{g.cursor if place == chosen else ' '} ", "accent"),
                (text, colour),
                (f" {g.changed if changed else ' '}", "accent"),
            ]
        )
    lines += [[] for _ in range(height - 1 - len(lines))]
    lines.append([(f"{g.changed} ", "accent"), ("changed", "muted")])
    return lines


def row_of(place: int, answers: Answers, chosen: int, height: int) -> int:
    """The number of the round that stands in a row of :func:`step_list`; -1 if none does."""
    rows, newest = max(1, height - 2), len(answers.rounds) - 1
    above = min(max(0, newest - chosen - rows // 2), max(0, newest + 1 - rows))
    found = newest - above - (place - 1)
    return found if 0 <= found <= newest and 1 <= place <= rows else -1


def nothing_yet(answers: Answers | None, width: int) -> list[Line]:
    """Why there is nothing to see, and how there would be."""
    if answers is None:
        return [[("reading", "muted")]]
    if answers.trouble:
        return [[(line, "warning")] for line in wrapped(answers.trouble, min(width, WIDEST))]
    if answers.asks:
        text = "The first answers come with the first evaluation, or the first checkpoint where there is no evaluation data."
        if not answers.live:
            text = "This run ended before the model was asked: that is done at evaluations, or at checkpoints without evaluation data."
        return [[(line, "text")] for line in wrapped(text, min(width, WIDEST))]
    lines: list[Line] = [
        [(line, "text")] for line in wrapped("The model of this run was not asked anything. With sample_prompts set, it answers "
        "your prompts at every evaluation, and this screen shows how its answers change from step to step.", min(width, WIDEST))
    ]  # fmt: skip
    examples = (
        ("In the form", "Evaluation, sample_prompts: Who are you? | What is LoRA?"),
        ("As a flag", 'tunedeck train ... --sample_prompts "Who are you?"'),
        ("In YAML", 'sample_prompts: ["Who are you?", "What is LoRA?"]'),
        ("From a file", "sample_prompts: prompts.txt   (a prompt a line; or .jsonl)"),
    )
    for where, text in examples:
        lines.append([])
        lines.append([(f"{where}: ", "muted")])
        lines += [[(_INDENT, "text"), (line, "value")] for line in wrapped(text, min(width, WIDEST) - 2)]
    return lines


def _texts(text: str, colour: str, width: int) -> list[Line]:
    return [[(_INDENT, "text"), (line, colour)] for line in wrapped(text, min(width, WIDEST) - len(_INDENT))]


def _answer(answer: Answer, width: int) -> list[Line]:
    if not answer.text.strip():
        return [[(_INDENT, "text"), ("(an empty answer)", "muted")]]
    return _texts(answer.text, "text", width)


def _figures(answer: Answer, since: int | None) -> Line:
    """How long the answer is, what it took, whether it came to its end, and since when it is the same."""
    words = []
    if answer.tokens is not None:
        words.append(f"{answer.tokens:,} {fmt.unit(answer.tokens, 'tokens')}")
    if answer.seconds is not None:
        words.append(f"{answer.seconds:.1f} s")
    line: Line = [(", ".join(words), "muted")]
    cut = {
        "length": "cut off here",
        "time": "cut off: it took too long",
        "no room": "the prompt fills the model's context",
    }
    if answer.ended in cut:
        line.append((f"{', ' if words else ''}{cut[answer.ended]}", "warning"))
    if since is not None:
        line.append((f", the same since step {since:,}", "muted"))
    return line


def _since(answers: Answers, place: int, prompt: int) -> int | None:
    """The first step of those in a row whose answer is the same as at this one; ``None`` if it is this one itself."""
    answer = answers.rounds[place].answers.get(prompt)
    first = place
    while first > 0 and answer is not None:
        before = answers.rounds[first - 1].answers.get(prompt)
        if before is None or before.text != answer.text:
            break
        first -= 1
    return answers.rounds[first].step if first != place else None


def _groups(answers: Answers, prompt: int) -> list[tuple[int, int]]:
    """Rounds in a row with the same answer as (newest, oldest), the newest first."""
    groups: list[tuple[int, int]] = []
    for place in range(len(answers.rounds) - 1, -1, -1):
        answer = answers.rounds[place].answers.get(prompt)
        if answer is None:
            continue
        newest, oldest = groups[-1] if groups else (-1, -1)
        if groups and oldest == place + 1 and answers.rounds[newest].answers[prompt].text == answer.text:
            groups[-1] = (newest, place)
        elif len(groups) >= MOST_BLOCKS:
            break
        else:
            groups.append((place, place))
    return groups

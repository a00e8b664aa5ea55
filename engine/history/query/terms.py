"""Makes a test of a run out of one comparison."""

from __future__ import annotations

import fnmatch
import math
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine import status as states
from engine.history import fields
from engine.history.fields import Field
from engine.history.query import values as read
from engine.history.query.errors import QueryError
from engine.history.query.tokens import Token, Value

if TYPE_CHECKING:
    from engine.history.summary import RunSummary

Test = Callable[["RunSummary", float], bool]
STATES = tuple(sorted(states.LIVE | states.ENDED | {states.UNKNOWN}))
FLAGS: dict[str, tuple[Callable[[RunSummary], bool], str]] = {
    "live": (lambda run: run.state in states.LIVE, "has not ended"),
    "ended": (lambda run: run.state in states.ENDED, "has ended"),
    "stalled": (lambda run: run.stalled, "is silent for too long"),
    "resumable": (lambda run: run.resumable, "can be resumed"),
    "foreign": (lambda run: run.tool != "tunedeck", "was trained by another tool"),
    "own": (lambda run: run.tool == "tunedeck", "was trained by tunedeck"),
    "here": (lambda run: run.here, "is or was on this machine"),
    "tagged": (lambda run: bool(run.tags), "has tags"),
    "evaluated": (lambda run: run.last_eval_loss is not None, "was evaluated"),
    "nan": (lambda run: _is_odd(run.last_loss) or _is_odd(run.last_eval_loss), "its last loss is no number"),
    "damaged": (lambda run: bool(run.problems), "could not be read whole"),
}
# What may become a number or a date when more is typed.
_BEGUN = re.compile(r"[\d.eE+/:T-]*")
_NONE = frozenset({"none", "unknown", "null", "missing"})
# Fields of which "unknown" is a value.
_UNKNOWN = ("state", "tool")
_ANY = frozenset({"any", "known", "some", "*"})
_ODD = {"nan": math.nan, "inf": math.inf, "+inf": math.inf, "infinity": math.inf, "-inf": -math.inf,
        "-infinity": -math.inf}  # fmt: skip
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}  # fmt: skip
_EXAMPLES = {fields.NUMBER: "1.2 or 1e-4", fields.COUNT: "500 or 2k", fields.TIME: "2026-10, today or 3d",
             fields.SECONDS: "90s or 2h30m", fields.BYTES: "500M or 2G"}  # fmt: skip


def word(text: str) -> Test:
    """A free word: anywhere in name, model, state, id, tool, tags or path."""
    wanted = text.casefold()

    def test(run: RunSummary, now: float) -> bool:
        text = f"{run.name}\n{run.base_model or ''}\n{run.state}\n{run.id}\n{run.tool}\n{run.path}"
        if wanted in text.casefold():
            return True
        return (run.stalled and wanted in "stalled") or any(wanted in tag.casefold() for tag in run.tags)

    return test


def term(token: Token) -> Test:
    """The test of one comparison. Raises :class:`QueryError`."""
    name = token.text.casefold().replace("-", "_")
    for value in token.values:
        if not value.text and not value.quoted:
            raise QueryError(f"after {token.text}{token.operator} a value is missing", value.start, incomplete=True)
    if token.operator == "!=":
        return _not(term(Token(token.kind, token.text, token.start, token.end, "=", token.values)))
    if name in ("is", "has"):
        return _any([(_flag if name == "is" else _has)(value) for value in token.values])
    field = fields.find(name)
    if field is None:
        raise _unknown_field(token)
    if token.operator not in (":", "=") and (len(token.values) > 1 or not field.numeric):
        why = "takes one value" if field.numeric else "is no number"
        raise QueryError(f"{field.name} {why}: {field.name}{token.operator} cannot be", token.start,
                         f"Write {field.name}:{token.values[0].text}")  # fmt: skip
    return _any([_compared(field, token.operator, value) for value in token.values])


def _unknown_field(token: Token) -> QueryError:
    near = fields.near(token.text, ("is", "has"))
    hint = (
        f"Did you mean {' or '.join(near)}?"
        if near
        else f'To search the words, quote them: "{token.text}{token.operator}…"'
    )
    return QueryError(f"there is no field {token.text!r}", token.start, hint)


def _compared(field: Field, sign: str, value: Value) -> Test:
    text, get = value.text.casefold(), field.get
    if sign in (":", "=") and not value.quoted and text in _NONE and not (field.name in _UNKNOWN and text == "unknown"):
        return lambda run, now: get(run) is None
    if sign in (":", "=") and not value.quoted and text in _ANY:
        return lambda run, now: get(run) is not None
    if field.name == "state" and not value.quoted:
        return _state(value, exact=sign == "=")
    if field.kind == fields.TAGS:
        return _tags(value)
    if not field.numeric:
        return _text(field, value, exact=sign == "=")
    return _date(field, sign, value) if field.kind == fields.TIME else _number(field, sign, value)


def _text(field: Field, value: Value, *, exact: bool) -> Test:
    get, wanted = field.get, value.text.casefold()
    if not value.quoted and ("*" in wanted or "?" in wanted):
        match = re.compile(fnmatch.translate(wanted)).match
        return lambda run, now: match((get(run) or "").casefold()) is not None
    if exact:
        return lambda run, now: (get(run) or "").casefold() == wanted
    return lambda run, now: wanted in (get(run) or "").casefold()


def _tags(value: Value) -> Test:
    """Tags are meant whole: what is marked by its tag may be about to be removed."""
    wanted = value.text.casefold()
    if not value.quoted and ("*" in wanted or "?" in wanted):
        match = re.compile(fnmatch.translate(wanted)).match
        return lambda run, now: any(match(tag.casefold()) for tag in run.tags)
    return lambda run, now: any(tag.casefold() == wanted for tag in run.tags)


def _state(value: Value, *, exact: bool) -> Test:
    text = value.text.casefold()
    found = frozenset(name for name in STATES if (text == name if exact else text in name))
    if text in FLAGS and not found:
        flag = FLAGS[text][0]
        return lambda run, now: flag(run)
    if not found and not ("*" in text or "?" in text):
        raise _no_such("no state is called", value, (*STATES, *FLAGS))
    if found:
        return lambda run, now: run.state in found
    match = re.compile(fnmatch.translate(text)).match
    return lambda run, now: match(run.state) is not None


def _flag(value: Value) -> Test:
    text = value.text.casefold()
    if text in FLAGS:
        flag = FLAGS[text][0]
        return lambda run, now: flag(run)
    if text in STATES:
        return lambda run, now: run.state == text
    raise _no_such("nothing can be", value, (*FLAGS, *STATES))


def _has(value: Value) -> Test:
    field = fields.find(value.text)
    if field is None:
        raise _no_such("there is no field", value, tuple(fields.FIELDS))
    get = field.get
    return lambda run, now: bool(get(run)) or get(run) == 0.0


def _no_such(what: str, value: Value, known: tuple[str, ...]) -> QueryError:
    import difflib

    begun = [name for name in known if name.startswith(value.text.casefold())]
    near = begun or difflib.get_close_matches(value.text.casefold(), known, n=3)
    hint = f"Did you mean {' or '.join(near[:3])}?" if near else f"It is one of {', '.join(known)}"
    return QueryError(f"{what} {value.text!r}", value.start, hint, incomplete=bool(begun))


def _number(field: Field, sign: str, value: Value) -> Test:
    get, text = field.get, value.text
    if text.casefold() in _ODD:
        return _odd(field, sign, value)
    low, dots, high = text.partition("..")
    if dots and sign in (":", "="):
        least, most = (_read(field, part, value) if part else None for part in (low, high))
        floor, roof = (-math.inf if least is None else least), (math.inf if most is None else most)
        return lambda run, now: (found := get(run)) is not None and floor <= found <= roof
    wanted = _read(field, text, value)
    # What was set as 1e-4 may stand there with four bytes: 0.00009999999747.
    slack = 0.0 if field.measured or field.kind != fields.NUMBER else abs(wanted) * 1e-6
    if sign in _COMPARE:
        compare, bound = _COMPARE[sign], wanted - slack if sign in ("<", ">=") else wanted + slack
        return lambda run, now: (found := get(run)) is not None and compare(found, bound)
    slack = read.precision(text) if field.measured else 0.5 if field.kind == fields.SECONDS else slack
    return lambda run, now: (found := get(run)) is not None and abs(found - wanted) <= slack


def _odd(field: Field, sign: str, value: Value) -> Test:
    get, wanted = field.get, _ODD[value.text.casefold()]
    if sign in _COMPARE:
        if math.isnan(wanted):
            raise QueryError("NaN is neither less nor more than a number", value.start, f"Write {field.name}:nan")
        compare = _COMPARE[sign]
        return lambda run, now: (found := get(run)) is not None and compare(found, wanted)
    if math.isnan(wanted):
        return lambda run, now: (found := get(run)) is not None and found != found
    return lambda run, now: get(run) == wanted


def _read(field: Field, text: str, value: Value) -> float:
    parse = {fields.BYTES: read.size, fields.SECONDS: read.span}.get(field.kind, read.number)
    found = parse(text)
    if found is None:
        raise _unread(field, value)
    return found


def _unread(field: Field, value: Value) -> QueryError:
    kind = {fields.TIME: "date", fields.SECONDS: "span of time", fields.BYTES: "size"}.get(field.kind, "number")
    return QueryError(f"{field.name} takes a {kind}, and {value.text!r} is none", value.start,
                      f"Write it like {_EXAMPLES[field.kind]}", incomplete=_BEGUN.fullmatch(value.text) is not None)  # fmt: skip


def _date(field: Field, sign: str, value: Value) -> Test:
    """A date is a stretch of time: later than it means from its beginning on, up to it means to its end."""
    get = field.get
    low, dots, high = value.text.partition("..")
    if dots and sign in (":", "="):
        first, last = (read.period(part) if part else None for part in (low, high))
        if (low and first is None) or (high and last is None):
            raise _unread(field, value)
        return lambda run, now: (
            (found := get(run)) is not None
            and (first is None or found >= first(now)[0])
            and (last is None or found < last(now)[1])
        )
    period = read.period(value.text)
    if period is None:
        raise _unread(field, value)
    if sign == ">":
        sign = ">="  # what began with the month is in it
    if sign in (":", "="):
        return lambda run, now: (found := get(run)) is not None and period(now)[0] <= found < period(now)[1]
    ago = read.relative(value.text) is not None and sign == "<="
    compare, side = (operator.lt, 1) if sign == "<=" and not ago else (_COMPARE[sign], 0)
    return lambda run, now: (found := get(run)) is not None and compare(found, period(now)[side])


def _is_odd(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _not(test: Test) -> Test:
    return lambda run, now: not test(run, now)


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda run, now: any(test(run, now) for test in tests)

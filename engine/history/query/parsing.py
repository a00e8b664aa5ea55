"""The grammar of filters: words side by side, ``and``, ``or``, ``not``, brackets, saved filters by ``@name``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.history.query import terms
from engine.history.query import tokens as tok
from engine.history.query.errors import QueryError
from engine.history.query.terms import Test
from engine.history.query.tokens import Token

if TYPE_CHECKING:
    from engine.history.summary import RunSummary

MAX_DEPTH = 50


class Query:
    """A filter that is understood; ``empty`` ones let every run pass."""

    def __init__(self, text: str = "", test: Test | None = None) -> None:
        self.text = text
        self._test = test

    @property
    def empty(self) -> bool:
        """Whether there is nothing to filter by."""
        return self._test is None

    def matches(self, run: RunSummary, now: float | None = None) -> bool:
        """Whether a run passes; ``now`` (Unix seconds) is what dates like ``today`` go by."""
        return self._test is None or self._test(run, time.time() if now is None else now)

    def keep(self, runs: Iterable[RunSummary], now: float | None = None) -> list[RunSummary]:
        """The runs that pass, in their order."""
        if self._test is None:
            return list(runs)
        test, now = self._test, time.time() if now is None else now
        return [run for run in runs if test(run, now)]


def parse(text: str) -> Query:
    """Understand a filter. Raises :class:`QueryError`, which says in words what is wrong, and where."""
    return Query(text, _parse(text, ()))


def _parse(text: str, within: tuple[str, ...]) -> Test | None:
    found = tok.split(text)
    if not found:
        return None
    parser = _Parser(text, found, within)
    test = parser.either(0)
    left = parser.next
    if left is not None:
        raise QueryError("there is no ( for this )", left.start)
    return test


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str, found: list[Token], within: tuple[str, ...]) -> None:
        self._end, self._tokens, self._place, self._within = len(text), found, 0, within

    @property
    def next(self) -> Token | None:
        """The token that has not been read."""
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def either(self, depth: int) -> Test:
        """Parts with ``or`` between."""
        tests = [self._both(depth)]
        while self.next is not None and self.next.kind == tok.OR:
            self._place += 1
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda run, now: any(test(run, now) for test in tests)

    def _both(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self.next is not None and self.next.kind not in (tok.OR, tok.CLOSE):
            if self.next.kind == tok.AND:
                self._place += 1
            tests.append(self._one(depth))
        if len(tests) == 1:
            return tests[0]
        if len(tests) == 2:
            first, second = tests
            return lambda run, now: first(run, now) and second(run, now)
        return lambda run, now: all(test(run, now) for test in tests)

    def _one(self, depth: int) -> Test:
        token = self.next
        if token is None or token.kind in (tok.AND, tok.OR, tok.CLOSE):
            raise self._missing(token)
        if depth > MAX_DEPTH:
            raise QueryError("this is nested too deeply", token.start)
        self._place += 1
        if token.kind == tok.NOT:
            test = self._one(depth + 1)
            return lambda run, now: not test(run, now)
        if token.kind == tok.OPEN:
            return self._group(token, depth)
        if token.kind == tok.SAVED:
            return self._saved(token)
        return terms.term(token) if token.kind == tok.TERM else terms.word(token.text)

    def _missing(self, token: Token | None) -> QueryError:
        before = self._tokens[self._place - 1].text if self._place else ""
        where = token.start if token is not None else self._end
        if token is not None and not before:
            return QueryError(f"something is missing before {token.text!r}", where)
        return QueryError(f"something is missing after {before!r}", where, incomplete=token is None)

    def _group(self, opened: Token, depth: int) -> Test:
        test = self.either(depth + 1)
        if self.next is None:
            raise QueryError("there is no ) for this (", opened.start, incomplete=True)
        self._place += 1
        return test

    def _saved(self, token: Token) -> Test:
        from engine.history.query import saved

        if token.text in self._within:
            raise QueryError(f"the saved filter @{token.text} contains itself", token.start)
        known = saved.load()
        if token.text not in known:
            begun = any(name.startswith(token.text) for name in known)
            hint = f"Saved are {', '.join('@' + name for name in known)}" if known else "None is saved yet"
            raise QueryError(f"no filter is saved as @{token.text}", token.start, hint, incomplete=begun)
        if len(self._within) > MAX_DEPTH:
            raise QueryError("this is nested too deeply", token.start)
        try:
            test = _parse(known[token.text], (*self._within, token.text))
        except QueryError as error:
            raise QueryError(f"in @{token.text}: {error.message}", token.start, error.hint) from None
        return test if test is not None else lambda run, now: True

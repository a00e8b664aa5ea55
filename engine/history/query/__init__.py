"""The filter of runs as people type it: ``qwen loss<1.2 (state:failed or is:stalled) -tag:old date>2026-10``.

Words side by side must all fit; ``and``, ``or``, ``not``, ``-`` and brackets combine. A word is searched in name, model,
state, id, tool, tags and path. ``field:value`` finds a text anywhere (``*`` and ``?`` stand for what differs, ``=`` is
exact, commas separate alternatives; a tag is meant whole), compares numbers (``r:8,16``, ``loss:0.5..1``, ``eval:none``,
``loss:nan``, ``step>2k``, ``bytes>2G``, ``seconds>2h``) and dates: ``date:2026-10``, ``date>2026-10`` (from its first day
on), ``date:today``, ``started>3d`` (in the last three days), ``started<3d`` (earlier). ``is:live`` and the like ask for
conditions, ``has:eval`` whether something is known, ``@name`` is a saved filter.
"""

from __future__ import annotations

from engine.history.query import saved
from engine.history.query.completion import Completion, complete
from engine.history.query.errors import QueryError
from engine.history.query.parsing import Query, parse

__all__ = ["Completion", "Query", "QueryError", "complete", "parse", "saved"]

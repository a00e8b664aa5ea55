"""A run that makes no steps any more is said to be stalled, in time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import status as states
from tests.slow.conftest import Stall

pytestmark = pytest.mark.slow


def test_a_stall_shows_within_ten_seconds_of_its_threshold(stalling: Callable[[], Stall]) -> None:
    seen = stalling()
    assert states.STALL_SECONDS < seen.shown - seen.last < states.STALL_SECONDS + 10
    assert seen.row is not None and seen.row.stalled and seen.row.state == "running"
    assert not seen.end["stalled"]

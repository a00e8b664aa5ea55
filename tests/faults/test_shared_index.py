from __future__ import annotations

import pytest

from tests.faults import shared_index

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("damage", [False, True], ids=["sound", "damaged"])
def test_two_apps_and_three_commands_on_one_index(damage: bool) -> None:
    wrong, told = shared_index.trial(5, damage=damage)
    assert not wrong, told
    assert "grow" in told


def test_the_judge_sees_what_is_wrong() -> None:
    truth = shared_index.Truth()
    truth.states = {"/a": [[1, 5, 3], [4, shared_index.NEVER, 7]], "/b": [[1, 3, 2]]}
    loss = shared_index.loss_of
    assert truth.wrong(6, 8, [("/a", 7, loss(7), 7)]) == []
    assert truth.wrong(2, 8, [("/a", 3, loss(3), 3), ("/b", 2, loss(2), 2)]) == []
    assert "had [7]" in truth.wrong(6, 8, [("/a", 3, loss(3), 3)])[0]
    assert "a mixture" in truth.wrong(6, 8, [("/a", 7, loss(3), 7)])[0]
    assert "was not there" in truth.wrong(6, 8, [("/a", 7, loss(7), 7), ("/b", 2, loss(2), 2)])[0]
    assert "was not listed" in truth.wrong(6, 8, [])[0]

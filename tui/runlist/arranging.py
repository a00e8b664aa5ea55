"""How the list is arranged: order, groups, columns; all of it is kept for the next time."""

from __future__ import annotations

import dataclasses
from typing import Any

from tui import report
from tui.runlist import choices as kept
from tui.runlist import groups
from tui.runlist.base import ListScreen
from tui.runlist.catalogue import COLUMNS


class Arranging(ListScreen):
    """Part of the list's screen: order, groups and columns."""

    def _choose(self, words: str, **changes: Any) -> None:
        """Show the list in another way, and keep it."""
        self.choices = dataclasses.replace(self.choices, **changes)
        self.draw(words)
        self.table.from_top()
        self.run_worker(self._keep, thread=True, group="choices", exit_on_error=False)

    def _keep(self) -> None:
        try:
            kept.save(self.choices)
        except OSError as error:
            words = f"This cannot be kept for the next time: {error.strerror or error}"
            self.app.call_from_thread(report.tell, self.app, words, severity="warning")

    # Order.

    def action_order(self) -> None:
        """Choose the column that orders the list."""
        from tui.launch.dialogs import PickScreen

        sort = self.list.sort[0]
        shown = [placed.column.key for placed in self.table.columns]
        keys = dict.fromkeys([sort, *shown, *COLUMNS])
        options = [(key, COLUMNS[key].title or "progress", COLUMNS[key].about) for key in keys]
        options[0] = (sort, options[0][1], f"now {order_words(*self.list.sort)}; again turns it round")

        def answered(key: str | None) -> None:
            if key is not None:
                falling = COLUMNS[key].falling
                self.order_by(key, not self.list.sort[1] if key == self.list.sort[0] else falling)

        self.app.push_screen(PickScreen("Order by", options), answered)

    def action_reverse(self) -> None:
        """The other way round."""
        sort, falling = self.list.sort
        self.order_by(sort, not falling)

    def order_by(self, sort: str, falling: bool) -> None:
        """Order by a column, the largest first or last."""
        self.table.keep_selected()
        self.list.order_by(sort, falling)
        self._choose(order_words(sort, falling), sort=sort, falling=falling)

    # Groups.

    def action_group(self) -> None:
        """The next way to group."""
        self.table.keep_selected()
        group = self.list.next_group()
        self._choose(groups.WORDS[group], group=group)

    def action_fold(self, folded: bool) -> None:
        """Fold the group at the cursor, or open it."""
        group = self.table.selected_group
        if group is not None and group.folded != folded:
            self.list.fold([group.key], folded)
            if folded:
                self.table.go_to(group)
            self.table.keep_selected()
            self.draw()

    def action_fold_all(self) -> None:
        """Fold all groups, or open them if all are folded."""
        found = self.list.groups
        folded = not all(group.folded for group in found)
        at = self.table.selected_group
        if found:
            if folded and at is not None:
                self.table.go_to(at)
            self.table.keep_selected()
            self.list.fold([group.key for group in found], folded)
            self.draw()

    # Columns.

    def action_columns(self) -> None:
        """Choose the columns."""
        from tui.runlist.dialogs import ColumnsScreen

        def answered(columns: tuple[str, ...] | None) -> None:
            if columns is not None:
                self._choose("", columns=columns)

        shown = self.choices.shown(len(self.list.tools))
        self.app.push_screen(ColumnsScreen(shown, [placed.column.key for placed in self.table.columns]), answered)


def order_words(sort: str, falling: bool) -> str:
    """The order in words."""
    if sort == "started":
        return "newest first" if falling else "oldest first"
    column = COLUMNS[sort]
    title = column.title or "progress"
    if sort == "state":
        return "by state, live ones last" if falling else "by state, live ones first"
    if not column.right and sort not in ("curve", "progress"):
        return f"by {title}, from the end" if falling else f"by {title}"
    return f"by {title}, {'largest' if falling else 'smallest'} first"

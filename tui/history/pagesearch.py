"""The line in which one types words that a page's lines must have."""

from __future__ import annotations

from tui.widgets.searchline import SearchLine


class PageSearch(SearchLine):
    """Searches while one types; Enter keeps the search, Escape ends it."""

    def __init__(self, value: str, what: str) -> None:
        super().__init__(value)
        self.placeholder = f"words to look for in the {what}"

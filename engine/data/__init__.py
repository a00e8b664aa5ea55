"""Data on disk, in the formats and shapes that people have, checked row by row and read as chats."""

from engine.data.chat import Chat
from engine.data.checking import check_file, check_sources
from engine.data.faults import Bad, Cancelled
from engine.data.messages import ROLES
from engine.data.options import Reading
from engine.data.reading import numbered_chats, read_chats, read_rows
from engine.data.report import DataReport, Tally
from engine.data.shared import rows_in_both
from engine.data.single import check_row
from engine.data.sources import Source

__all__ = [
    "ROLES", "Bad", "Cancelled", "Chat", "DataReport", "Reading", "Source", "Tally", "check_file", "check_row", "check_sources",
    "numbered_chats", "read_chats", "read_rows", "rows_in_both",
]  # fmt: skip

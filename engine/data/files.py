"""Data files as streams: opened, hashed while they are read, and told apart by what is in them."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO

from engine.data import encodings, tables
from engine.data.faults import Bad
from engine.data.jsonscan import list_key, speaks
from engine.data.shapes import ROW_KEYS

HEAD = 256 * 1024
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
JSONL, JSON, CSV, TSV, PARQUET = "JSONL", "JSON", "CSV", "TSV", "Parquet"
_CONVERT = "Convert it to JSONL, CSV or Parquet"
_GIVE = "Give a JSONL, JSON, CSV, TSV or Parquet file"
# What a file's first bytes say that it is, and why it is refused.
_REFUSED = (
    (b"PK\x03\x04", "zip-file", "is a ZIP archive or a spreadsheet", "Unpack it, or export it as CSV"),
    (b"BZh", "compressed", "is compressed with bzip2", "Unpack it first; gzip can be read as it is"),
    (b"\xfd7zXZ\x00", "compressed", "is compressed with xz", "Unpack it first; gzip can be read as it is"),
    (b"\x28\xb5\x2f\xfd", "compressed", "is compressed with zstd", "Unpack it first; gzip can be read as it is"),
    (b"\x04\x22\x4d\x18", "compressed", "is compressed with LZ4", "Unpack it first; gzip can be read as it is"),
    (b"7z\xbc\xaf\x27\x1c", "compressed", "is a 7z archive", "Unpack it first"),
    (b"Rar!", "compressed", "is a RAR archive", "Unpack it first"),
    (b"\xd0\xcf\x11\xe0", "unknown-format", "is a spreadsheet or document of an old Office", "Export it as CSV"),
    (b"ORC", "unknown-format", "is an ORC file", _CONVERT),
    (b"Obj\x01", "unknown-format", "is an Avro file", _CONVERT),
    (b"FEA1", "arrow-file", "is a Feather file", _CONVERT),
    (b"\x93NUMPY", "unknown-format", "is a NumPy array", _CONVERT),
    (b"GGUF", "unknown-format", "holds a model's weights (GGUF), not data", _GIVE),
    (b"ARROW1", "arrow-file", "is an Arrow file", _CONVERT),
    (b"\xff\xff\xff\xff", "arrow-file", "is an Arrow stream", _CONVERT),
    (b"\x89HDF", "unknown-format", "is an HDF5 file", _CONVERT),
    (b"SQLite format 3", "unknown-format", "is an SQLite database", _CONVERT),
    (b"%PDF", "unknown-format", "is a PDF document", _CONVERT),
    (b"\x89PNG", "images", "is a picture", "Only text can be trained on here"),
    (b"\xff\xd8\xff", "images", "is a picture", "Only text can be trained on here"),
    (b"version https://git-lfs", "lfs-pointer", "is a Git LFS pointer, not the data", "Fetch the data with git lfs pull"),
    (b"\x80\x02", "unknown-format", "is a Python pickle, which is never opened", _CONVERT),
    (b"\x80\x03", "unknown-format", "is a Python pickle, which is never opened", _CONVERT),
    (b"\x80\x04", "unknown-format", "is a Python pickle, which is never opened", _CONVERT),
    (b"\x80\x05", "unknown-format", "is a Python pickle, which is never opened", _CONVERT),
)  # fmt: skip
_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml)", re.I)
_OPEN_END = (b"{", b"[", b",", b":")
_JSON = re.compile(rb'\{\s*"|\[\s*[\[{]')  # no header of a table begins so
_TABLES, _LINES = (".csv", ".tsv", ".tab"), (".jsonl", ".ndjson", ".jsonlines")


class Counted(io.RawIOBase):
    """A file that is hashed and counted as it is read; ``tick`` is told the bytes so far, and may raise."""

    def __init__(self, path: Path, tick: Callable[[int], None]) -> None:
        self._file = path.open("rb", buffering=0)
        self._tick = tick
        self.digest = hashlib.sha256()
        self.count = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read, hash, count and tell."""
        got: int = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:got])
        self.count += got
        self._tick(self.count)
        return got

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Opened:
    """A data file, what it is, and a stream of its bytes (unpacked if it is gzipped)."""

    def __init__(self, path: Path, tick: Callable[[int], None] = lambda done: None) -> None:
        head, self.packed = _head(path)
        self.path, self.tick = path, tick
        if self.packed and head.startswith((_GZIP, b"PAR1")):
            what = "is packed with gzip twice" if head.startswith(_GZIP) else "is a Parquet file packed with gzip"
            raise Bad("compressed", what, "Unpack it first")
        self.encoding = encodings.told(head)
        self.head = self.encoding.plain(head)
        self.format, self.layout = tell(self.head, path)
        self.size = path.stat().st_size
        self.raw = Counted(path, tick)

    @property
    def title(self) -> str:
        """The format for people."""
        return ", ".join(part for part in (self.format, self.encoding.title, "gzip" if self.packed else "") if part)

    def stream(self) -> IO[bytes]:
        """The bytes from the beginning."""
        self._plain = io.BufferedReader(self.raw, _BLOCK)  # kept: it would close the file when it goes
        stream: IO[bytes] = (
            io.BufferedReader(gzip.GzipFile(fileobj=self._plain), _BLOCK) if self.packed else self._plain
        )
        return stream if self.encoding.usual else io.BufferedReader(encodings.Recoded(stream, self.encoding), _BLOCK)

    def drain(self) -> None:
        """Read what is left, so that the hash is that of the whole file."""
        buffer = memoryview(bytearray(_BLOCK))
        while self.raw.readinto(buffer):
            pass

    def close(self) -> None:
        """Close the file."""
        self.raw.close()


def _head(path: Path) -> tuple[bytes, bool]:
    """The first bytes, unpacked, and whether they had to be."""
    with path.open("rb") as file:
        head = file.read(HEAD)
        if not head.startswith(_GZIP):
            return head, False
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return unpacked.read(HEAD), True
        except (OSError, EOFError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise broken_gzip() from None
        except Exception as error:  # zlib.error, which is no OSError
            raise broken_gzip() from error


def broken_gzip() -> Bad:
    """That a gzip file is torn."""
    return Bad("broken-gzip", "is a damaged or incomplete gzip file", "Copy or download it again")


def tell(head: bytes, path: Path) -> tuple[str, str]:
    """Format and layout of a file: by its first bytes, then by its name. Raises :class:`Bad` for what is refused."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = next((s for s in reversed(suffixes) if s not in (".gz", ".gzip")), "")
    if head.startswith(b"PAR1"):
        return PARQUET, ""
    _refuse(head, suffix)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if suffix in _TABLES and not _JSON.match(text):
        return (CSV if suffix == ".csv" else TSV), ""
    if suffix in _LINES and text[:1] in (b"{", b"[") and not _laid_out(text):
        return JSONL, ""
    if text[:1] == b"[":
        return JSON, "list"
    if text[:1] == b"{":
        return _brace(text)
    if tables.known(text) >= 2:
        return (TSV if tables.delimiter(text, tabs=False) == "\t" else CSV), ""
    if suffix in (".txt", ".md", ".text", ".rst"):
        raise Bad(
            "bare-text",
            "is bare text, in which rows cannot be told apart",
            'Write one {"text": "…"} a line into a JSONL file',
        )
    if suffix in (".yaml", ".yml", ".toml", ".ini", ".py"):
        raise Bad("unknown-format", "is no data file", _GIVE)
    first = text.split(b"\n", 1)[0]
    if suffix or not first or not any(mark in first for mark in (b",", b"\t", b";", b"|")):
        return JSONL, ""
    return CSV, ""


def _refuse(head: bytes, suffix: str) -> None:
    """What is told by its beginning to be no data of ours."""
    for magic, kind, message, hint in _REFUSED:
        if head.startswith(magic):
            raise Bad(kind, message, hint)
    if head[257:262] == b"ustar":
        raise Bad("compressed", "is a tar archive", "Unpack it first")
    if suffix in (".parquet", ".pq") and head:
        raise Bad("broken-parquet", "is no Parquet file, whatever its name says", "Copy or download it again")
    # A zero byte or two among text are said of their row.
    zeros = head[:4096].count(0)
    if (zeros > 3 and zeros * 100 > len(head[:4096])) or b"\0" in head[:8]:
        raise Bad("unknown-format", "holds binary data", _GIVE)
    if _PAGE.match(head.removeprefix(codecs.BOM_UTF8)):
        raise Bad("web-page", "is a web page, not data", "The download was perhaps refused: fetch the raw file again")


def _laid_out(text: bytes) -> bool:
    """Whether this is JSON over several lines, whatever the file's name says, and no line that was cut off."""
    first, _, rest = text.partition(b"\n")
    first, rest = first.rstrip(), rest.strip()
    if first == b"{":
        return rest.startswith((b'"', b"}"))
    if not rest and first[:1] == b"[":  # a list of rows in one line; a list of messages is one row
        return not speaks(first)
    second = rest.split(b"\n", 1)[0].rstrip()
    if first == b"[":
        return second.endswith((b",", b"{", b"[", b"]")) or (len(text) < HEAD and rest.endswith(b"]"))
    return first[:1] == b"[" and first.endswith((b"},", b"{"))


def _brace(text: bytes) -> tuple[str, str]:
    """JSON lines, JSON values that are laid out over lines, or one object around a list."""
    first, newline, rest = text.partition(b"\n")
    whole = first.rstrip()
    if newline and rest.strip() and not whole.endswith(_OPEN_END) and whole.count(b"{") == whole.count(b"}"):
        return JSONL, ""
    if (
        newline
        and not whole.endswith(_OPEN_END)
        and whole != b"{"
        and not rest.lstrip().startswith((b'"', b"}", b"]", b",", b"["))
    ):
        return JSONL, ""
    if whole == b"{" and not _laid_out(text):
        return JSONL, ""
    key = list_key(text)
    if key is not None and key not in ROW_KEYS:
        return JSON, "object"
    return (JSON, "values") if newline and not whole.endswith(b"}") else (JSONL, "")

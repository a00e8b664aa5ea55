"""Text that is no UTF-8 with line feeds, read as if it were: UTF-16, UTF-32, and lines that end in a carriage return alone."""

from __future__ import annotations

import codecs
import io
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from engine.data.faults import Bad

_BLOCK = 1 << 20
# The longer marks first: UTF-32's begins like UTF-16's.
_MARKS = ((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
          (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip
# Which of the first four bytes are zero where the text begins with ASCII, as JSON and headers do, and bears no mark.
_ZEROS = {
    (False, True, True, True): "utf-32-le", (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le", (True, False, True, False): "utf-16-be",
}  # fmt: skip
_BEGINS = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))


@dataclass(frozen=True, slots=True)
class Encoding:
    """``codec`` is empty for UTF-8; ``returns`` says that lines end in a carriage return alone."""

    codec: str = ""
    returns: bool = False

    @property
    def usual(self) -> bool:
        """Whether nothing is to be done."""
        return not self.codec and not self.returns

    @property
    def title(self) -> str:
        """The encoding for people, empty for UTF-8."""
        return self.codec[:6].upper()

    def plain(self, head: bytes) -> bytes:
        """The beginning of a file in UTF-8. Raises :class:`Bad`."""
        return Recoded(io.BytesIO(head), self, cut=True).read() if not self.usual else head


def told(head: bytes) -> Encoding:
    """The encoding of a file that begins so."""
    codec = next((name for mark, name in _MARKS if head.startswith(mark)), "")
    plain = Encoding(codec).plain(head)
    if not codec and len(head) >= 4 and all(byte in _BEGINS for byte in head[:4] if byte):
        guess = _ZEROS.get((head[0] == 0, head[1] == 0, head[2] == 0, head[3] == 0), "")
        with suppress(Bad):
            codec, plain = guess, Encoding(guess).plain(head)
    return Encoding(codec, b"\r" in plain and b"\n" not in plain)


class Recoded(io.RawIOBase):
    """A stream in UTF-8 with line feeds; halves of characters stay broken, so that their row can be named.

    ``cut`` is for the beginning of a file, which may end in the middle of a character.
    """

    def __init__(self, stream: IO[bytes], encoding: Encoding, *, cut: bool = False) -> None:
        self._stream, self._encoding, self._cut = stream, encoding, cut
        self._decoder = codecs.getincrementaldecoder(encoding.codec)("surrogatepass") if encoding.codec else None
        self._ready, self._over = b"", False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read and recode."""
        while not self._ready and not self._over:
            raw = self._stream.read(_BLOCK)
            self._over = not raw
            self._ready = self._recoded(raw)
        got = len(self._ready[: len(buffer)])
        buffer[:got] = self._ready[:got]
        self._ready = self._ready[got:]
        return got

    def _recoded(self, raw: bytes) -> bytes:
        if self._decoder is not None:
            try:
                raw = self._decoder.decode(raw, self._over and not self._cut).encode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                name = self._encoding.title
                raise Bad(
                    "invalid-utf8", f"is no {name} text, though it begins so", "Convert the file to UTF-8"
                ) from None
        return raw.replace(b"\r", b"\n") if self._encoding.returns else raw

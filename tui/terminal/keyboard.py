"""Textual's driver, with an input that outlives bytes which are no text."""

from __future__ import annotations

import contextlib
import os
import selectors
from codecs import getincrementaldecoder

from textual._parser import ParseError
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

CHUNK = 4096
LOOK_SECONDS = 0.1


class Keyboard(LinuxDriver):
    """LinuxDriver whose input leaves bytes aside that are not UTF-8 (Textual's ends the app on the first one)."""

    def run_input_thread(self) -> None:
        """Read keys until the driver stops; what a terminal with another encoding sends is ignored."""
        decoder = getincrementaldecoder("utf-8")("ignore")
        parser = XTermParser(self._debug)

        def take(events: list[object]) -> None:
            text = decoder.decode(self._read()) if events else ""
            if text:  # an empty one would end the parser
                for message in parser.feed(text):
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)

        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                take(selector.select(LOOK_SECONDS))  # type: ignore[arg-type]
            take(selector.select(LOOK_SECONDS))  # type: ignore[arg-type]
        with contextlib.suppress(EOFError, ParseError):
            for _ in parser.feed(""):
                pass

    def _read(self) -> bytes:
        try:
            data = os.read(self.fileno, CHUNK)
        except BlockingIOError:  # somebody else took what was there
            return b""
        if not data:
            self.exit_event.wait(LOOK_SECONDS)  # the end of the input is readable all the time
        return data

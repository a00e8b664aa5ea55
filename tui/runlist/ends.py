"""The end of a run is told wherever one is, and so is a list that cannot be read whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from engine.text import clean
from tui import format as fmt
from tui import report
from tui.runlist.base import ListScreen
from tui.runlist.model import BAD_ENDS

if TYPE_CHECKING:
    from engine.history import RunSummary


class Ends(ListScreen):
    """Part of the list's screen: what is told about runs without being asked."""

    def tell_failure(self, error: Exception) -> None:
        """Some run could not be read for a reason nobody thought of."""
        from tui.leaving import log_exception

        path = log_exception(error)
        where = f" Details: {path}" if path else ""
        report.tell(self.app, f"Some runs could not be read.{where}", severity="warning")

    def tell_ends(self, changed: Iterable[RunSummary]) -> None:
        """Tell of those that lived until now."""
        for run in changed:
            before = self.list.runs.get(run.path)
            if before is not None and before.live and not run.live:
                self._tell_end(run)

    def _tell_end(self, run: RunSummary) -> None:
        """A run has ended while the app was open: said wherever one is, with the bell if the run asks for it."""
        bad = run.state in BAD_ENDS
        words = fmt.reason_after(run.state, run.reason)
        reason = f"{':' if words == run.reason else ''} {words}" if words else ""
        report.tell(
            self.app,
            f"{clean(run.name, 100)} {run.state}{clean(reason, 300)}",
            severity="error" if bad else "information",
        )
        self.run_worker(lambda: self._ring(run), thread=True, group="bell", exit_on_error=False)

    def _ring(self, run: RunSummary) -> None:
        from engine.rundir import RunDir

        config = (RunDir(run.path).read_run() or {}).get("config")
        wanted = config.get("notify") if isinstance(config, dict) else None
        if isinstance(wanted, list) and "bell" in wanted:
            self.app.call_from_thread(self.app.bell)

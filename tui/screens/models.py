"""Pick a model: those on this machine, a directory that is typed, or a hub id that the hub is asked about."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from engine.text import clean
from tui import report
from tui.glyphs import glyphs
from tui.keys import bindings
from tui.launch.entry import Entry
from tui.launch.field import TextField
from tui.models import columns, facts, offering, values
from tui.models import feed as feeding
from tui.models.choosing import Taken
from tui.models.facts import Seen
from tui.models.feed import HUB_SECONDS, Feed
from tui.models.folders import absolute, beside, counted, incomplete
from tui.models.ledger import ORDER_WORDS, Ledger, Offer
from tui.models.permission import permission
from tui.models.table import GUTTER, ModelTable
from tui.screens.dialog import in_front
from tui.widgets.chrome import KeyBar, TopBar
from tui.widgets.lines import Line, Lines

WIDE, HUGE = 110, 150
HINT = "type to narrow down; or a hub id (org/name), or a path"


class ModelsScreen(Screen[Taken | None]):
    """Dismissed with the model that was taken. ``trusts`` says that the form lets a model's own code run."""

    CSS_PATH = "models.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("models")
    KEYS = "models"
    AUTO_FOCUS = "TextField"

    @dataclass
    class News(Message):
        """Something of the feed's."""

        news: feeding.News

    def __init__(self, name: str = "", revision: str | None = None, *, trusts: bool = False) -> None:
        super().__init__()
        self._now, self._trusts = (name, revision), trusts
        self.ledger, self.seen = Ledger(), Seen()
        self._places: feeding.Places | None = None
        self._searching, self._trouble = True, ""
        self._asked: Offer | None = None
        self._until = 0.0
        self._clock: Timer | None = None
        self._columns: list[columns.Placed] = []
        self._feed = Feed(lambda news: self._hear(news), beside(name))

    def _hear(self, news: feeding.News) -> None:
        self.post_message(self.News(news))

    def compose(self) -> ComposeResult:
        """A line to type in, the list, what is known of the chosen one."""
        yield TopBar("Models")
        field = TextField(kind="directory", hint=HINT)
        field.entry = Entry("", kind="directory", model=True)
        yield field
        with Horizontal(id="models-body"):
            with Horizontal(id="models-left"):
                yield Lines(id="models-header")
                yield ModelTable(self._draw_row, self._is_now, id="models-list")
                yield Lines(id="models-empty")
            yield Lines(id="models-pane")
        yield Lines(id="models-foot")
        yield Lines(id="models-status")
        yield KeyBar()

    @property
    def table(self) -> ModelTable:
        """The list."""
        return self.query_one(ModelTable)

    @property
    def typed(self) -> str:
        """What is typed."""
        return self.query_one(TextField).value.strip()

    def on_mount(self) -> None:
        """Begin to look."""
        self._feed.scan()
        self._say()

    def on_unmount(self) -> None:
        """Take back what was asked."""
        self._feed.stop()

    def on_resize(self, event: events.Resize) -> None:
        """The side pane needs room."""
        self.set_class(event.size.width >= WIDE, "-wide")
        self.set_class(event.size.width >= HUGE, "-huge")
        self.call_after_refresh(self._lay_out)

    @property
    def _ready(self) -> bool:
        """Whether it stands; it may have been left meanwhile, and is resized before its parts are there."""
        return self.is_attached and bool(self.query("#models-status"))

    # News.

    def on_models_screen_news(self, message: ModelsScreen.News) -> None:
        """Show what has come."""
        news = message.news
        if not self._ready:
            return
        if isinstance(news, feeding.Found):
            self.ledger.add(news.models)
            self._searching, self._trouble = not news.over, news.trouble
            self._renew()
        elif isinstance(news, feeding.Places):
            self._places = news
            if news.asked:
                self.seen.gpu, self.seen.searched = news.gpu, True
        elif isinstance(news, feeding.Answered):
            self._take_answer(news)
        elif isinstance(news, feeding.Looked):
            self.seen.paths[news.text], self.seen.below[news.text] = news.model, news.below
            self.ledger.add(news.below)
            self._renew()
        else:
            self.seen.code[news.path] = news.brought
        self._say()

    def _take_answer(self, news: feeding.Answered) -> None:
        if self._asked is None or (self._asked.name, self._asked.revision) != (news.name, news.revision):
            return
        self.seen.answers[news.name, news.revision] = news.answer
        self._end_question()

    # What is shown.

    def _renew(self, *, first: bool = False) -> None:
        self.table.show(self.ledger.rows(self.typed), first=first)

    def _lay_out(self) -> None:
        if self._ready:
            self._columns = columns.layout(self.table.room)
            self.table.renew()
            self._say()

    def _is_now(self, row: Any) -> bool:
        """Whether it is the form's present model."""
        name, revision = self._now
        if isinstance(row, Offer):
            return False
        return (row.name == name and row.revision == revision) or (bool(name) and str(row.path) == absolute(name))

    def _draw_row(self, row: Any) -> Line:
        placed = self._columns or columns.layout(self.table.room)
        if not isinstance(row, Offer):
            return columns.row(row, placed)
        line = offering.line(row, self.seen, self.table.room, asking=row == self._asked)
        return columns.said(line, placed)

    def _say(self) -> None:
        """Everything around the list; only what changed is painted."""
        if not self._ready:
            return
        order = self.ledger.order
        width = self.table.room
        placed = self._columns = columns.layout(width)
        head = columns.header(placed, order, self.ledger.falling)
        self.query_one("#models-header", Lines).show([[(" " * GUTTER, "text"), *head]])
        pane, foot = self.query_one("#models-pane", Lines), self.query_one("#models-foot", Lines)
        row = self.table.row
        if self.has_class("-wide"):
            pane.show(facts.pane(row, self.seen, pane.content_size.width or 40))
        else:
            foot.show(facts.foot(row, self.seen, foot.content_size.width))
        self._say_where()
        self.table.renew()

    def _say_where(self) -> None:
        models = self.ledger.models
        parts = [counted(models)] if models or not self._searching else []
        if self._searching:
            parts.append(f"searching{glyphs().ellipsis}")
        self.query_one(TopBar).set_right(f" {glyphs().dot} ".join([*parts, f"by {ORDER_WORDS[self.ledger.order]}"]))
        status: Line = []
        if self._trouble:
            status = [(f"{glyphs().warning} {clean(self._trouble, 200)}", "warning")]
        elif self._places is not None:
            folders = ", ".join(values.short_path(path) for path in self._places.folders) or "no folder"
            status = [("Looked in ", "muted"), (f"{values.short_path(self._places.cache)}, {folders}", "muted")]
        self.query_one("#models-status", Lines).show([status])
        empty = self._nothing() if not self.table.rows and not self._searching else []
        self.query_one("#models-empty", Lines).show(empty)
        self.set_class(bool(empty), "-empty")

    def _nothing(self) -> list[Line]:
        """Words for an empty list."""
        if self.typed:
            return [
                [(f"No model here matches {clean(self.typed, 60)}", "text")],
                [],
                [("esc shows all again", "muted")],
            ]
        cache = values.short_path(self._places.cache) if self._places is not None else "the hub cache"
        return [[(f"No models in the hub cache at {cache}, and none in the folders below.", "text")], [],
                [("Type a hub id like Qwen/Qwen2.5-0.5B-Instruct, and Enter asks the hub about it;", "muted")],
                [("or the path of a directory that holds a model.", "muted")]]  # fmt: skip

    # Typing and moving.

    def on_text_field_changed(self) -> None:
        """Another text lets others through."""
        if self._asked is not None:
            self._end_question()
        self._renew(first=True)
        row = self.table.row
        if isinstance(row, Offer) and row.kind == "directory":
            self._feed.look(row.name)
        self._say()

    def on_model_table_moved(self) -> None:
        """Another model is looked at."""
        model = self.seen.model(self.table.row)
        if model is not None and model.code and model.path not in self.seen.code:
            self._feed.code(model)
        self._say()

    def on_text_field_submitted(self) -> None:
        """Enter."""
        self.action_take()

    def on_model_table_chosen(self) -> None:
        """Two clicks."""
        self.action_take()

    def action_move(self, by: int) -> None:
        """Up or down."""
        self.table.move(by)

    def action_page(self, by: int) -> None:
        """A screenful up or down."""
        self.table.page(by)

    def action_jump(self, place: int) -> None:
        """To the first or the last."""
        self.table.go(place if place >= 0 else len(self.table.rows))

    def action_complete(self) -> None:
        """The field does it."""

    def action_order(self) -> None:
        """The next order."""
        self.ledger.next_order()
        self._renew()
        self._say()

    def action_turn(self) -> None:
        """The same the other way round."""
        self.ledger.turned = not self.ledger.turned
        self._renew()
        self._say()

    def action_rescan(self) -> None:
        """Look for models again, and forget what the hub and the disk said."""
        self._end_question()
        self.seen = Seen(gpu=self.seen.gpu, searched=self.seen.searched)
        self.ledger.clear()
        self._searching = True
        self._renew()
        self._feed.scan()
        if isinstance(row := self.table.row, Offer) and row.kind == "directory":
            self._feed.look(row.name)
        self._say()

    def action_back(self) -> None:
        """Out of a question, then of what is typed, then to the form."""
        if self._asked is not None:
            self._end_question()
            self._say()
        elif self.typed:
            field = self.query_one(TextField)
            field.entry.set("")
            field.entry.candidates = ()
            field.styles.height = 1
            field.refresh()
            self.on_text_field_changed()
        elif in_front(self):
            self.dismiss(None)

    # The hub.

    def _question(self, offer: Offer) -> None:
        self._end_question()
        self.seen.answers.pop((offer.name, offer.revision), None)
        self._asked, self._until = offer, time.monotonic() + HUB_SECONDS
        self.seen.seconds_left = int(HUB_SECONDS)
        self._clock = self.set_interval(1.0, self._count_down)
        self._feed.ask(offer.name, offer.revision)
        self._say()

    def _count_down(self) -> None:
        self.seen.seconds_left = max(0, round(self._until - time.monotonic()))
        self._say()

    def _end_question(self) -> None:
        self._asked, self.seen.seconds_left = None, None
        self._feed.give_up()
        if self._clock is not None:
            self._clock.stop()
            self._clock = None

    # Taking.

    def action_take(self) -> None:
        """Take the chosen one over, or ask the hub about it first."""
        row = self.table.row
        if row is None or self._asked is not None or not in_front(self):
            return
        if isinstance(row, Offer) and row.kind == "hub":
            answer = self.seen.answer(row)
            if answer is None or answer.kind != "ok":
                self._question(row)
            elif answer.trouble:
                report.tell(self.app, f"It cannot be fine-tuned here: {answer.trouble}", severity="warning")
            else:
                taken = Taken(
                    row.name, row.revision, None, f"{_about(answer.parameters, answer.dtype)}; downloaded at the start"
                )
                self._take(taken, needed=answer.needs_code, brings=answer.code)
            return
        model = self.seen.model(row)
        if model is None:
            words = (
                "Take one of the models in it"
                if self.seen.below.get(row.name)
                else "Give the directory that holds config.json"
            )
            report.tell(self.app, f"No model lies there itself. {words}", severity="warning")
        elif incomplete(model):
            self._ask_about_the_rest(model)
        elif model.trouble:
            report.tell(self.app, f"It cannot be fine-tuned here: {model.trouble}", severity="warning")
        else:
            template = f"template {values.template(model.template)}" if model.template else "no chat template"
            taken = Taken(model.name, model.revision, None, f"{_about(model.parameters, model.dtype)}, {template}")
            self._take(taken, needed=model.needs_code, brings=model.code)

    def _ask_about_the_rest(self, model: Any) -> None:
        """Of a model of the hub that lies here in part only."""
        field = self.query_one(TextField)
        field.entry.set(model.name + (f"@{model.revision}" if model.revision else ""))
        field.refresh()
        self.on_text_field_changed()
        offers = [row for row in self.table.rows if isinstance(row, Offer)]
        if offers:
            self.table.go(self.table.rows.index(offers[0]))
            self._question(offers[0])

    def _take(self, taken: Taken, *, needed: bool, brings: bool) -> None:
        """Close with a model; where its own code would run, only after consent."""
        if needed or (brings and self._trusts):
            self.run_worker(self._with_code(taken, needed), group="consent", exclusive=True)
        else:
            self.dismiss(taken)

    async def _with_code(self, taken: Taken, needed: bool) -> None:
        allowed = await permission(self, taken.name, taken.revision)
        if not in_front(self):
            return  # why not is being read
        if allowed.granted:
            self.dismiss(replace(taken, sha256=allowed.sha256 or None))
        elif needed:
            report.tell(self.app, "Not taken: it cannot be built without its own code", severity="warning")
        else:
            self.dismiss(taken)


def _about(count: int | None, dtype: str) -> str:
    """Size in words."""
    known = [f"{values.parameters(count)} parameters" if count is not None else "", clean(dtype, 30)]
    return ", ".join(part for part in known if part) or "size unknown"

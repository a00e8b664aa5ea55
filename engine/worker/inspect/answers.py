"""The answers to what is asked. Loads transformers and TRL with the first one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.data import Chat, Reading, numbered_chats
from engine.errors import TunedeckError
from engine.modelfiles import no_files
from engine.paths import expand
from engine.preflight import is_local_model
from engine.text import clean
from engine.worker import bounds
from engine.worker.inspect.fitting import DoesNotFit, check_file, load_config
from engine.worker.inspect.rows import Files
from engine.worker.owncode import may_run

_MODELS = 2
_MOST_TOKENS, _MOST_ROWS = 20_000, 10_000
_SECONDS = 2.0
# What the answers about a tokenizer depend on.
_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json", "config.json", "merges.txt",
          "special_tokens_map.json", "added_tokens.json", "generation_config.json", "tokenizer.model", "vocab.json")  # fmt: skip
Request = dict[str, Any]


class Refused(Exception):
    """An answer that is an error: a short stable kind, a message and a hint."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.hint = kind, message, hint


class Answers:
    """Keeps the tokenizers and files that were asked for last. Used by one thread."""

    def __init__(self) -> None:
        self._models: OrderedDict[object, tuple[Any, str]] = OrderedDict()
        self._facts: OrderedDict[object, dict[str, Any]] = OrderedDict()
        self._endless: set[object] = set()
        self._asked: object = None
        self._files = Files()

    def answer(self, request: Request, check: Callable[[], None]) -> dict[str, Any]:
        """The answer to one request; ``check`` raises where it was taken back. Raises :class:`Refused`."""
        verbs = {"open": self._open, "tokens": self._tokens, "lengths": self._lengths, "costs": self._costs}
        verb = verbs.get(str(request.get("ask")))
        if verb is None:
            raise Refused("bad-request", f"nothing is known of {clean(request.get('ask'), 40)!r}")
        try:
            return verb(request, check)
        except bounds.Endless as error:
            if self._asked is not None:
                self._endless.add(self._asked)
            raise _endless(error) from None
        except TunedeckError as error:
            problem = error.problems[0]
            where = f"{problem.where}: " if problem.where else ""
            raise Refused(problem.kind, where + problem.message, problem.hint) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise Refused(
                "unreadable-file", f"{clean(error.filename, 300)}: {error.strerror}", "Check the path"
            ) from None

    def _open(self, request: Request, check: Callable[[], None]) -> dict[str, Any]:
        from engine.worker.inspect import facts

        marker, model, notice = self._marker(request)
        key = (*self._key(model), marker.assistant_only)
        if key not in self._facts:
            check()
            self._facts[key] = facts.facts(marker, model, notice)
            if len(self._facts) > 2 * _MODELS:
                self._facts.popitem(last=False)
        return self._facts[key]

    def _tokens(self, request: Request, check: Callable[[], None]) -> dict[str, Any]:
        from engine.worker.marking import CannotRender

        marker, _, _ = self._marker(request)
        line, chat = self._chat(request, check)
        way = self._way(marker, chat)
        try:
            marked = marker.mark(chat)
        except CannotRender as error:
            raise Refused("cannot-render", str(error), "Change the row, or take another template") from None
        first = _number(request, "first", 0)
        shown = marker.pieces(marked, chat)[first : first + min(_number(request, "count", _MOST_TOKENS), _MOST_TOKENS)]
        return {
            "line": line, "tokens": len(marked.ids), "kept": marked.kept, "learned": marked.learned, "way": marked.way,
            "words": way, "unproven": list(marked.unproven), "unwritten": list(marked.unwritten), "first": first,
            "ids": [piece.id for piece in shown],
            "texts": [piece.text for piece in shown], "trained": [int(piece.trained) for piece in shown],
            "special": [int(piece.special) for piece in shown],
        }  # fmt: skip

    def _lengths(self, request: Request, check: Callable[[], None]) -> dict[str, Any]:
        from engine.worker.inspect import lengths

        marker = self._marker(request)[0]
        seconds = float(request.get("seconds") or _SECONDS)
        sample = _number(request, "sample", 0)

        def proper(chat: Chat) -> None:
            self._way(marker, chat)

        if sample:
            rows = numbered_chats(*self._named(request))
            return lengths.sampled(marker, rows, min(sample, _MOST_ROWS), seconds, check, proper)
        row, count = _number(request, "row", 0), min(_number(request, "count", 500), _MOST_ROWS)
        return lengths.counted(marker, self._cursor(request), row, count, seconds, check, proper)

    def _costs(self, request: Request, check: Callable[[], None]) -> dict[str, Any]:
        from engine.worker.inspect.costs import NoAdapter, costs

        settings, machine = request.get("settings"), request.get("machine")
        if not isinstance(settings, dict) or not isinstance(machine, dict):
            raise Refused("bad-request", "no settings are given")
        if machine.get("capability"):
            machine = {**machine, "capability": tuple(machine["capability"])}
        check()
        name = str(settings.get("base_model"))
        _refuse_pipes(name)
        trust = may_run(name, settings.get("revision") or None, settings.get("trust_remote_code"))
        try:
            settings = {**settings, "base_model": str(expand(name)) if name.startswith("~") else name,
                        "trust_remote_code": trust}  # fmt: skip
            load_config(settings)
            return costs(settings, machine, chats=request.get("chats") is not False)
        except DoesNotFit as error:
            raise Refused(error.kind, error.message, error.hint) from error
        except NoAdapter as error:
            text = clean(" ".join(str(error).split()), 300)
            if "arget modules" in text:
                raise Refused("unknown-target", text, "Name layers that it has, or use all-linear") from error
            raise Refused("bad-adapter", f"PEFT refuses this adapter for this model: {text}",
                          "Change what it names, or target_modules") from error  # fmt: skip
        except Exception as error:
            text = clean((str(error).strip().splitlines() or [type(error).__name__])[0], 200)
            raise Refused("no-costs", f"the model cannot be built from its configuration: {text}",
                          "Check config.json, and trust_remote_code where it needs code of its own") from error  # fmt: skip

    def _way(self, marker: Any, chat: Chat) -> str:
        """How the row is marked, in words; refuses where it cannot be."""
        if chat.text is not None:
            return "plain text is learned as it stands"
        if not marker.tokenizer.chat_template:
            raise Refused("no-template", "the model has no chat template, so chats cannot be rendered",
                          "Set chat_template_path to the template of the model's family")  # fmt: skip
        way = marker.way(chat.tools)
        if way.unfit:
            raise Refused("bad-template", way.why_not, "Mend it, or choose another (chat_template_path)")
        if not way.name:
            raise Refused("cannot-mark", way.why_not, "Set assistant_only_loss to false to learn from the whole text")
        return str(way.words)

    def _chat(self, request: Request, check: Callable[[], None]) -> tuple[int | None, Chat]:
        given = request.get("chat")
        if isinstance(given, dict) and isinstance(given.get("messages"), list):
            return None, Chat(given["messages"], given.get("tools") or None, given.get("text"))
        row = _number(request, "row", 0)
        found = self._cursor(request).row(row, check)
        if found is None:
            raise Refused("no-row", f"there is no row {row + 1}", "The file ends before it")
        return found

    def _cursor(self, request: Request) -> Any:
        path, reading = self._named(request)
        return self._files.cursor(path, reading, str(request.get("ask")))

    @staticmethod
    def _named(request: Request) -> tuple[Path, Reading]:
        """The file that is meant, and how it is read."""
        file, reading = request.get("file"), request.get("reading") or {}
        if not isinstance(file, str) or not file or not isinstance(reading, dict):
            raise Refused("bad-request", "no file is named")
        fields = dict(reading.get("fields") or {})
        return expand(file), Reading(str(reading.get("format") or "auto"), fields, bool(reading.get("skip")))

    def _marker(self, request: Request) -> tuple[Any, dict[str, Any], str]:
        """A marker over the tokenizer that is meant, its model, and what was done about the pad token."""
        given = request.get("model")
        if not isinstance(given, dict) or not isinstance(given.get("base_model"), str) or not given["base_model"]:
            raise Refused("bad-request", "no model is named")
        name = given["base_model"]
        model = {
            "base_model": str(expand(name)) if name.startswith("~") else name,
            "revision": given.get("revision") or None,
            "trust_remote_code": may_run(name, given.get("revision") or None, given.get("trust_remote_code")),
            "template": given.get("template") or None,
        }
        _refuse_pipes(name)
        self._asked = self._key(model)
        if self._asked in self._endless:  # it took its time once: not again at every question
            raise _endless(bounds.Endless())
        only = request.get("assistant_only_loss", "auto") is not False
        marker, notice = self._loaded(model, only)
        limit = request.get("max_seq_length")
        marker.limit = limit if isinstance(limit, int) and limit > 0 else None
        return marker, model, notice

    def _loaded(self, model: dict[str, Any], only: bool) -> tuple[Any, str]:
        from engine.worker import chat
        from engine.worker.marking import Marker

        key = (*self._key(model), only)
        if key not in self._models:
            _refuse(check_file, model)
            try:
                tokenizer = chat.load_tokenizer(model, renders=False)
                if len(tokenizer) <= len(tokenizer.added_tokens_decoder):
                    raise ValueError("its vocabulary is empty")
                tokenizer("Hello")  # some can be loaded and do nothing
                _ = tokenizer.all_special_ids  # of a token that is not there, some ask themselves for ever
            except Exception as error:
                # It is looked for by the model's configuration: where that is damaged, the tokenizer is not at fault.
                _refuse(load_config, model)
                raise _no_tokenizer(model["base_model"], error) from error
            if model["template"]:
                tokenizer.chat_template = model["template"]
            notice = chat.ensure_pad_token(tokenizer)
            self._models[key] = Marker(tokenizer, assistant_only=only), notice
            if len(self._models) > _MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return self._models[key]

    @staticmethod
    def _key(model: dict[str, Any]) -> tuple[object, ...]:
        """The tokenizer that is meant; files that were changed make another one of it."""
        folder = Path(model["base_model"])
        times = []
        for name in _FILES if folder.is_dir() else ():
            try:
                times.append((folder / name).stat().st_mtime_ns)
            except OSError:
                times.append(0)
        return (*(model[name] for name in ("base_model", "revision", "trust_remote_code", "template")), *times)


def _refuse_pipes(name: str) -> None:
    """A library that opens a pipe waits for ever, and can be asked nothing more."""
    if found := no_files(expand(name)):
        raise Refused("bad-model", f"{clean(found[0], 100)} is no regular file", "Give a complete model directory")


def _refuse(check: Callable[[dict[str, Any]], Any], model: dict[str, Any]) -> None:
    """Do a check; what does not fit is refused."""
    try:
        check(model)
    except DoesNotFit as error:
        raise Refused(error.kind, error.message, error.hint) from error


def _endless(error: bounds.Endless) -> Refused:
    return Refused("endless-template", str(error), "Set chat_template_path to another template")


def _no_tokenizer(name: str, error: Exception) -> Refused:
    why = clean(" ".join(str(error).split()) or type(error).__name__, 240)
    if is_local_model(name) and not Path(name).is_dir():
        return Refused("bad-model", f"{clean(name, 200)} is no directory", "Give a model directory or a hub id")
    if not Path(name).is_dir():
        return Refused("not-downloaded", f"{clean(name, 200)} is not in the local hub cache, so its template is not known",
                       "Download it first, or give a local directory")  # fmt: skip
    return Refused("bad-model", f"the tokenizer of {clean(name, 200)} cannot be loaded: {why}",
                   "Copy the tokenizer files of the model into it")  # fmt: skip


def _number(request: Request, name: str, otherwise: int) -> int:
    value = request.get(name, otherwise)
    if type(value) is not int or value < 0:
        raise Refused("bad-request", f"{name} is no number of things")
    return value

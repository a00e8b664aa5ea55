"""Answers the form: tokens, masks and facts of chat templates, for :mod:`engine.inspecting`, which asks.

JSON objects, one a line. A request has an ``id`` and says what it ``ask``s; each gets exactly one answer with its id,
``{"id", "ok": true, "answer"}`` or ``{"id", "ok": false, "error": {"kind", "message", "hint"}}``. ``{"cancel": ID}`` takes
a request back: its answer is then an error of the kind ``cancelled``, unless it was given already. What is asked:

- ``open``: facts of a model's tokenizer and template. ``model`` holds ``base_model``, ``revision``, ``trust_remote_code`` and
  perhaps ``template`` (the text of another one); ``assistant_only_loss`` as in a run's settings.
- ``tokens``: one row token by token: all of the above, ``max_seq_length``, and ``file``, ``row`` (from 0) and ``reading``
  (``format``, ``fields``, ``skip``), or a ``chat`` (``messages``, ``tools``, ``text``). ``first`` and ``count`` choose tokens.
- ``lengths``: of ``count`` rows of a ``file`` from ``row`` on, or of ``sample`` rows from everywhere in it (``total`` is then how many
  there are): tokens of each, learned tokens within ``max_seq_length``, ``spans`` of learned tokens whatever is cut (begin and end,
  one after another), and whether it is answered.
  It stops after ``seconds`` and says which row is ``next``, or ``null`` at the file's end.
- ``costs``: of a run's ``settings`` on a ``machine``: trainable and other parameters, sizes of the model, what ``auto`` chooses.
"""

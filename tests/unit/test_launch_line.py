from __future__ import annotations

import pytest

from tui.launch.line import LineEditor


def keys(editor: LineEditor, *names: str) -> LineEditor:
    for name in names:
        assert editor.press(name), name
    return editor


def test_typing_goes_to_the_cursor() -> None:
    editor = LineEditor("ac")
    keys(editor, "left").insert("b")
    assert (editor.text, editor.cursor) == ("abc", 2)


def test_a_marked_text_is_replaced_by_typing_and_kept_by_moving() -> None:
    replaced = LineEditor("2048", selected=True)
    replaced.insert("9")
    assert replaced.text == "9"
    kept = keys(LineEditor("2048", selected=True), "right")
    kept.insert("9")
    assert kept.text == "20489"
    assert keys(LineEditor("2048", selected=True), "left").cursor == 0
    assert keys(LineEditor("2048", selected=True), "backspace").text == ""


@pytest.mark.parametrize(
    ("names", "text", "cursor"),
    [
        (["ctrl+w", "ctrl+w"], "/data/my ", 9),
        (["ctrl+u"], "", 0),
        (["home", "ctrl+k"], "", 0),
        (["ctrl+left", "ctrl+left"], "/data/my file.jsonl", 9),
        (["home", "ctrl+right", "ctrl+k"], "/data", 5),
        (["home", "delete"], "data/my file.jsonl", 0),
    ],
)
def test_shell_keys(names: list[str], text: str, cursor: int) -> None:
    editor = keys(LineEditor("/data/my file.jsonl"), *names)
    assert (editor.text, editor.cursor) == (text, cursor)


def test_unknown_keys_are_left_to_others() -> None:
    assert not LineEditor("x").press("f5")


def test_only_the_first_line_is_pasted() -> None:
    editor = LineEditor()
    editor.insert("one\ntwo")
    assert editor.text == "one"
    editor.insert("\n")
    assert editor.text == "one"


def test_a_decomposed_syllable_is_one_step() -> None:
    editor = LineEditor("e\u0301x")
    keys(editor, "left", "left")
    assert editor.cursor == 0
    keys(editor, "delete")
    assert editor.text == "x"


def test_the_cursor_is_always_in_the_window_and_widths_hold() -> None:
    from rich.cells import cell_len

    text = "/데이터/한국어 대화.jsonl"
    for width in range(2, 30):
        editor = LineEditor(text)
        for _ in range(len(text) + 1):
            before, at, after = editor.window(width)
            assert at
            assert cell_len(before + at + after) <= max(width, cell_len(at))
            editor.left()


def test_what_is_drawn_cannot_steer_the_terminal() -> None:
    raw = "a\x1b]52;c;x\x07\x9b31m\u202eb\tc\x00"
    editor = LineEditor(raw)
    drawn = "".join(editor.window(80))
    assert editor.text == raw
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e" for c in drawn)
    assert len(drawn) == len(raw) + 1

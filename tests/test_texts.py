"""Text from elsewhere, cleaned: no format takes it for mark-up, no terminal for a command, no file refuses it."""

import csv
import io
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gfp_bench.registry.discovery import load_plugins
from gfp_bench.texts import clean, clean_line, clean_phrase

MARKS = "`*_~<>[]()|#!\\&$=+-@{}%^\"' \n\r\t\x00\x1b\x9b\u202e\u2028\ud800\udcff1.)aé:/"
TEXTS = st.text(st.one_of(st.sampled_from(MARKS), st.characters(exclude_categories=())), max_size=80)
AWKWARD = ("a\n\n# b\n| c |\n|---|\n", "`x` <img src=x onerror=alert(1)> [y](http://z) ![](u)", "\x1b]0;t\x07\ud800")


@given(text=TEXTS)
@example(text=AWKWARD[0])
@example(text=AWKWARD[1])
@example(text=AWKWARD[2])
def test_what_is_clean_is_one_printable_line_and_stays_so(text: str) -> None:
    for cleaned in (clean(text), clean_phrase(text)):
        assert cleaned.isprintable()
        assert len(cleaned) <= 300
        assert not {unicodedata.category(one) for one in cleaned} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert cleaned.encode().decode() == cleaned
        assert clean(cleaned) == cleaned
    assert clean_phrase(clean_phrase(text)) == clean_phrase(text)
    assert clean_line(text).isprintable()


@given(text=TEXTS)
@example(text=AWKWARD[0])
@example(text=AWKWARD[1])
@example(text=" _x_ __y__ ~~z~~ **z** ")
def test_markdown_shows_a_reason_as_code_and_a_phrase_as_text(text: str) -> None:
    shown = MarkdownIt("gfm-like", {"linkify": False})
    reason, phrase = clean(f"x{text}x"), clean_phrase(f"x{text}x")
    for line, kinds in (
        (f"1. Failed: `{reason}`.", ["text", "code_inline", "text"]),
        (f"1. Differs: {phrase}.", ["text"]),
    ):
        tokens = shown.parse(f"{line}\n2. The next.\n")
        assert [token.type for token in tokens if token.type.endswith("_open")] == [
            "ordered_list_open", "list_item_open", "paragraph_open", "list_item_open", "paragraph_open",
        ]  # fmt: skip
        (inline, _) = (token for token in tokens if token.type == "inline")
        found = [child.type for child in inline.children or () if child.type != "text_special"]
        assert [
            kind for kind, before in zip(found, ["", *found], strict=False) if (kind, before) != ("text", "text")
        ] == kinds


@given(text=TEXTS)
@example(text="=HYPERLINK(1)")
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    cleaned = clean(text)
    assert not re.match(r"[=+\-@]", cleaned)
    table = io.StringIO()
    csv.writer(table).writerow([cleaned, "next"])
    assert next(csv.reader(io.StringIO(table.getvalue()))) == [cleaned, "next"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("expected (8, 4), got (8, 3): one row per image", "expected (8, 4), got (8, 3): one row per image"),
        (
            "TypeError: __init__() takes 1 argument, *k is no path\\of 'x'",
            "TypeError: __init__() takes 1 argument, *k is no path\\of 'x'",
        ),
        ("  two\n lines  ", "two lines"),
        ("x" * 400, "x" * 297 + "..."),
        ("-1 is no number", "'-1 is no number"),
        ("", ""),
    ],
)
def test_a_sound_text_is_kept(text: str, expected: str) -> None:
    assert clean(text) == expected


def test_what_built_in_methods_say_stays_as_it_is() -> None:
    plugins = load_plugins()
    for method in (plugins.method(name)() for name in plugins.methods):
        assert [clean(method.paper), *map(clean_phrase, method.deviations)] == [method.paper, *method.deviations]

"""Text from elsewhere - a plugin's, an error's - made fit to be stored, printed and put on a board. Torch-free."""

import re

_LONGEST = 300  # characters
_LIKE = str.maketrans({"`": "'", "<": "\u2039", ">": "\u203a"})  # what closes our inline code, and what opens HTML
_MARKS = str.maketrans({"*": "\u2217", "~": "\u223c", "[": "(", "]": ")", "$": "\uff04"})
_EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word Markdown leaves it alone
_FORMULA = "=+-@"  # at which a spreadsheet begins to compute


def clean(text: str) -> str:
    """Return a text as one printable line of at most 300 characters that no format of ours takes for mark-up.

    Escape sequences, other control characters, lone surrogates and marks that turn the direction of writing become
    spaces, backticks and angle brackets become look-alikes. What is clean already comes back as it is.
    """
    plain = " ".join(clean_line(text[: 8 * _LONGEST]).translate(_LIKE).split())
    if plain.startswith(tuple(_FORMULA)):
        plain = f"'{plain}"
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 3].rstrip()}..."


def clean_line(text: str) -> str:
    """Return a line for a terminal: what is printable stays as it is, be it code; what is not becomes a space."""
    return "".join(one if one.isprintable() else " " for one in text)


def clean_phrase(text: str) -> str:
    """Return a text as `clean` does, for where it stands outside of inline code: nothing emphasises or links either."""
    return clean(_EDGE.sub("\u2017", text.translate(_MARKS)))

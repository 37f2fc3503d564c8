"""Makes text from files fit for a terminal: names, metadata and errors of libraries say anything.

A control character could move the cursor or rewrite what was printed before, a bidirectional one
show a name in another order than it has, half a surrogate pair end the program; and a name of
5,000 characters would bury the rest.
"""

from __future__ import annotations

import functools
import re
import shlex
import unicodedata
from collections.abc import Iterable

# Control, format (bidirectional, zero-width), surrogate, and the separators of lines. The two
# joiners belong to names in Persian, Hindi and emoji, and move nothing.
_ESCAPED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
_JOINERS = "\u200c\u200d"

# Pieces that are shortened, and how much is kept of their beginning and end: what no comma, colon
# or slash divides beyond 400 characters, as names with spaces; then words that are longer than the
# name of a file can be, so that commands can be copied.
_PIECES = (
    (re.compile(r"[^,:/]{401,}"), 300, 60),
    (re.compile(r"[^\s/]{256,}"), 160, 60),
)
_LONGEST = 2000  # characters of a message


def printable(text: str) -> str:
    """Return a text in one line, its control characters escaped and its long names shortened.

    Applying it again changes nothing.
    """
    return _shortened(escaped(text))


def message(text: str) -> str:
    """Return a text as `printable` does, cut in the middle if it is long all the same."""
    return cut(printable(text), _LONGEST)


def shell_line(words: Iterable[str]) -> str:
    """Return a command for a shell in one printable line that stands for exactly these words."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    if escaped(word) == word:
        return shlex.quote(word)
    # As bash, zsh and ksh read $'...': bytes in hexadecimal, which end after two digits.
    return "$'" + "".join(map(_in_quotes, word)) + "'"


def _in_quotes(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    if _escape(character) == character:
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


def escaped(text: str) -> str:
    r"""Return a text in one line: ESC as `\x1b`, a new line as `\n`, an override as `\u202e`."""
    if text.isprintable():
        return text
    return "".join(map(_escape, text))


def cut(text: str, longest: int) -> str:
    """Return a text of at most so many characters, cut in the middle."""
    if len(text) <= longest:
        return text
    end = (longest - 3) // 4
    return f"{text[: longest - 3 - end]}...{text[len(text) - end :]}"


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED or character in _JOINERS:
        return character
    return character.encode("unicode_escape").decode()


def _shortened(text: str) -> str:
    for piece, head, tail in _PIECES:
        text = piece.sub(functools.partial(_kept, head, tail), text)
    return text


def _kept(head: int, tail: int, found: re.Match[str]) -> str:
    return f"{found[0][:head]}...{found[0][-tail:]}"

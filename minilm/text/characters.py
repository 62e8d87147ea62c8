"""Which characters can be seen, and how labels and names are compared."""

import re
import unicodedata
from decimal import Decimal

# Unicode's Default_Ignorable_Code_Point: characters that have no picture of their own, whatever the font. Some of them are
# letters to Unicode (the Hangul fillers), so their category alone does not tell.
_IGNORED = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
IGNORED = re.compile(f"[{_IGNORED}]")
_BLANK = re.compile(
    f"[{_IGNORED}\u2800\ufdd0-\ufdef\ufffe\uffff]"
)  # and an empty Braille cell, and what is no character
# Spaces and controls, and marks that only change the character before them.
_UNSEEN = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"))
_AROUND = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf"))
_JOINERS = "\u200c\u200d"  # at the end of a word they choose the form of its last letter
_NUMBER = re.compile(r"[-+]?\d{1,30}(\.\d{1,30})?", re.ASCII)


def visible(text: str) -> bool:
    """Whether the text has a character that can be seen.

    Spaces, control characters, a zero-width space, a byte order mark, a soft hyphen, a direction mark, a filler or a
    combining mark without its letter cannot.
    """
    return any(unicodedata.category(c) not in _UNSEEN and not _BLANK.match(c) for c in text)


def code_points(text: str, most: int = 3) -> str:
    """The first characters of a text that cannot be shown, by their numbers: "U+200B U+FEFF"."""
    return " ".join(f"U+{ord(c):04X}" for c in text[:most]) + (" …" if len(text) > most else "")


def tidy(name: str) -> str:
    """A label or a column's name without spaces and invisible characters around it, composed (NFC)."""
    start, end = 0, len(name)
    while start < end and _is_around(name[start]):
        start += 1
    while start < end and _is_around(name[end - 1]):
        end -= 1
    return unicodedata.normalize("NFC", name[start:end])


def _is_around(character: str) -> bool:
    # the characters from U+E0000 on spell the flags of England, Scotland and Wales
    return unicodedata.category(character) in _AROUND and character not in _JOINERS and character < "\U000e0000"


def likeness(name: str) -> str:
    """The same for names that differ only in case, width, spaces, invisible characters or the way a number is written."""
    folded = unicodedata.normalize("NFKC", IGNORED.sub("", name)).casefold()
    plain = " ".join(unicodedata.normalize("NFKC", folded).split())
    if _NUMBER.fullmatch(plain):
        return str(Decimal(plain).normalize() + 0)  # 1.0 and 01 are 1; + 0 turns -0 into 0
    return plain

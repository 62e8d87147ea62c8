"""Which characters can be seen, and how labels and names are compared."""

import re
import unicodedata
from decimal import Decimal
from functools import cache

# Unicode's Default_Ignorable_Code_Point: characters that have no picture of their own, whatever the font. Some of them are
# letters to Unicode (the Hangul fillers), so their category alone does not tell.
_IGNORED = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
IGNORED = re.compile(f"[{_IGNORED}]")
# The last two numbers of each plane and a block of 32 are no characters and never will be; an empty Braille cell is blank.
_NONE = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_BLANK = re.compile(f"[{_IGNORED}{_NONE}\u2800]")
_UNSEEN = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs"))  # spaces, controls, and halves of characters
_MARKS = frozenset(("Mn", "Me"))  # they only change the character before them
# What is removed around a label: spaces, controls, and marks of direction. The joiners U+200C and U+200D stay, because they
# choose the form of the last letter, and so do the selectors of an emoji.
_RANGES = (
    *((0x00, 0x20), (0x7F, 0xA0), (0xAD, 0xAD), (0x61C, 0x61C), (0x1680, 0x1680), (0x180E, 0x180E), (0x2000, 0x200B)),
    *((0x200E, 0x200F), (0x2028, 0x202F), (0x205F, 0x206F), (0x3000, 0x3000), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB)),
)
_AROUND = "".join(chr(number) for first, last in _RANGES for number in range(first, last + 1))
_NUMBER = re.compile(r"[-+]?\d{1,30}(\.\d{1,30})?", re.ASCII)


@cache
def shows(character: str) -> bool:
    """Whether a character shows, alone or as an accent on the one before it.

    Spaces, control characters, a zero-width space, a byte order mark, a soft hyphen, a direction mark and a filler do not.
    """
    return unicodedata.category(character) not in _UNSEEN and not _BLANK.match(character)


def visible(text: str) -> bool:
    """Whether the text has a character that can be seen: one that shows, and is no combining mark without its letter."""
    return any(shows(c) and unicodedata.category(c) not in _MARKS for c in text)


def code_points(text: str, most: int = 3) -> str:
    """The first characters of a text that cannot be shown, by their numbers: "U+200B U+FEFF"."""
    return " ".join(f"U+{ord(c):04X}" for c in text[:most]) + (" …" if len(text) > most else "")


def tidy(name: str) -> str:
    """A label or a column's name without spaces and invisible characters around it, composed (NFC)."""
    return unicodedata.normalize("NFC", name.strip(_AROUND))


def likeness(name: str) -> str:
    """The same for names that differ only in case, width, spaces, invisible characters or the way a number is written."""
    folded = unicodedata.normalize("NFKC", IGNORED.sub("", name)).casefold()
    plain = " ".join(unicodedata.normalize("NFKC", folded).split())
    if _NUMBER.fullmatch(plain):
        return str(Decimal(plain).normalize() + 0)  # 1.0 and 01 are 1; + 0 turns -0 into 0
    return plain

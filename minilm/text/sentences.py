"""Text → sentences, for English, Chinese and both in one line.

The rules look at the characters round each mark and need not be told the language. One regular expression finds every
place where a sentence *might* end; `_ends` decides with a few cheap looks to the left and to the right.
"""

import re

# Never the end of a sentence when a word follows: they announce the name or the number after them.
_ANNOUNCE = frozenset(
    "mr mrs ms messrs mme dr prof st gen sen rep gov pres capt cpt lt col sgt maj cmdr rev hon fr mt ft"
    " e.g i.e eg cf vs viz approx incl ca resp fig figs vol vols pp dir prod ed eds".split()
)
# These may end one; only a capital after them says so.
_SHORTENED = frozenset("etc inc ltd co corp bros jr sr dept univ assn ave blvd min max hrs yrs no nos".split())
_MONTHS = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec".split())
# After `U.S.` or `J. R.` a capital proves nothing, unless the word is one that opens sentences and no names.
_OPENER = re.compile(
    r"(The|This|That|These|Those|Its?|He|She|We|They|You|I|But|And|So|If|In|On|At|As|An?|My|His|Her|There|What|When)\b(?!\.)"
)

_STOPS = "。！？；…"
_CLOSERS = "\"'”’」』）)\\]】"
_CONTINUES = frozenset("，、：；,:;》〉」』）)]】.!?。！？…%")

_LINE_BREAK = re.compile(r"[\r\n]+")  # not splitlines: to it \x85 is a break, in old Windows files it is an ellipsis
_MAYBE = re.compile(rf"(?P<mark>[{_STOPS}.!?]+)(?P<closers>[{_CLOSERS}]*)(?P<space>\s*)")
_ITEM = re.compile(r"\s*\d{1,2}\s*\.\s*")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, in order, stripped, none empty.

    English ends at `.` `!` `?` with the quotes and brackets that close after them, but not in abbreviations (`Mr.`),
    initials (`J. R. R.`), decimals (`3.5`), the number of an item (`1. `) or an ellipsis that goes on in lower case.
    Chinese ends at `。！？；……`; the ASCII marks count between Chinese characters too, as people type them. A line
    break always ends a sentence. Marks alone (a quote that closes after a space) stay with the sentence before them.
    Nothing is lost: the pieces without white space are the text without white space.
    """
    pieces: list[str] = []
    for line in _LINE_BREAK.split(text):
        pieces += _split_line(line)
    return pieces


def _split_line(line: str) -> list[str]:
    ends = [0]
    for border in _MAYBE.finditer(line):
        if _ends(line, border) and not _ITEM.fullmatch(line, ends[-1], border.end()):
            ends.append(border.end())
    if ends[-1] < len(line):
        ends.append(len(line))
    pieces: list[str] = []
    for start, end in zip(ends, ends[1:], strict=False):
        piece = line[start:end]
        if pieces and not any(map(str.isalnum, piece)):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return [stripped for piece in pieces if (stripped := piece.strip())]


def _ends(text: str, border: re.Match[str]) -> bool:
    mark, closers, space = border.group("mark", "closers", "space")
    if border.end() == len(text):
        return True
    following = text[border.end()]
    if following in _CONTINUES:
        return False
    if mark[-1] in _STOPS:  # a single … in English goes on in lower case
        return not ("a" <= following <= "z" and mark == "…")
    if not space:
        return _ends_without_space(text, border.start(), border.end(), mark, closers)
    if following.islower():
        if closers or mark.startswith(".."):  # "What?" he asked.  Well ... no.
            return False
        return mark != "." or _plain_word_before(text, border.start())
    return mark != "." or bool(closers) or not _shortened_before(text, border)


def _ends_without_space(text: str, start: int, end: int, mark: str, closers: str) -> bool:
    before, following = text[start - 1 : start], text[end]
    if _is_chinese(following):  # 很好.我喜欢 ends; 1.很好 counts
        return bool(closers) or not (mark == "." and before.isdigit())
    # "awful.The" is a forgotten space; "I.T." and "example.org" are none.
    return (
        not closers
        and following.isupper()
        and text[end + 1 : end + 2].islower()
        and start >= 2
        and text[start - 2 : start].isalpha()
        and text[start - 2 : start].islower()
    )


def _last_word(text: str, start: int) -> str:
    """The word that the mark at `start` belongs to, also across the space that tokenised text puts before a mark."""
    words = text[max(0, start - 24) : start].split()
    return words[-1].lstrip("\"'“‘([") if words else ""


def _plain_word_before(text: str, start: int) -> bool:
    """`bad film. i hated it`: a plain word of three letters or more. Not `J . r . r . tolkien`, not `approx. five`."""
    word = _last_word(text, start)
    known = word in _ANNOUNCE or word in _SHORTENED or word in _MONTHS
    return len(word) >= 3 and word.isalpha() and word.islower() and not known


def _shortened_before(text: str, border: re.Match[str]) -> bool:
    word = _last_word(text, border.start())
    lower, following = word.lower(), text[border.end()]
    if lower in _ANNOUNCE:
        return True
    if lower in _MONTHS or lower in ("no", "nos"):  # No. 5, Dec. 24; but "Oh no. Then …"
        return following.isdigit()
    initial = len(word) == 1 and word.isalpha() and word.isupper() and word != "I"
    dotted = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if initial or dotted:
        return text[border.end()].isalpha() and not _OPENER.match(text, border.end())
    return False


def _is_chinese(character: str) -> bool:
    return "㐀" <= character <= "鿿" or character in "“‘《「『（【"

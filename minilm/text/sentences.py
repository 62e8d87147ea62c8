"""Split text into sentences, for English, Chinese and a mix of both in one line.

The rules look at the characters around each punctuation mark, so you need not say which language it is. One regular
expression finds every place where a sentence *might* end, and `_ends` decides by a quick look to the left and right.
"""

import re

# These never end a sentence if a word follows, because they announce the name or the number after them.
_ANNOUNCE = frozenset(
    "mr mrs ms messrs mme dr prof st gen sen rep gov pres capt cpt lt col sgt maj cmdr rev hon fr mt ft"
    " e.g i.e eg cf vs viz approx incl ca resp fig figs vol vols pp dir prod ed eds".split()
)
# These may end a sentence, but only if a capital letter follows.
_SHORTENED = frozenset("etc inc ltd co corp bros jr sr dept univ assn ave blvd min max hrs yrs no nos".split())
_MONTHS = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec".split())
# After `U.S.` or `J. R.` a capital proves nothing, unless it starts a word that opens sentences but never names.
_OPENER = re.compile(
    r"(The|This|That|These|Those|Its?|He|She|We|They|You|I|But|And|So|If|In|On|At|As|An?|My|His|Her|There|What|When)\b(?!\.)"
)

_STOPS = "。！？；…"
_CLOSERS = "\"'”’」』）)\\]】"
_CONTINUES = frozenset("，、：；,:;》〉」』）)]】.!?。！？…%")

_LINE_BREAK = re.compile(r"[\r\n]+")  # not splitlines, which breaks at \x85, an ellipsis in old Windows files
_MAYBE = re.compile(rf"(?P<mark>[{_STOPS}.!?]+)(?P<closers>[{_CLOSERS}]*)(?P<space>\s*)")
_ITEM = re.compile(r"\s*\d{1,2}\s*\.\s*")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text` in order, without surrounding white space; none is empty.

    An English sentence ends at `.` `!` `?` plus any closing quotes and brackets, but not in abbreviations (`Mr.`),
    initials (`J. R. R.`), decimals (`3.5`), item numbers (`1. `) or at an ellipsis followed by lower case. A Chinese
    sentence ends at `。！？；……`, or at an ASCII mark between Chinese characters, because people type those too. A line
    break always ends a sentence. Marks that stand alone (such as a closing quote after a space) stay with the sentence
    before them. Nothing is lost: apart from white space, the pieces together are the text.
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
    if mark[-1] in _STOPS:  # after a single … English may continue in lower case
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
    # In "awful.The" a space was forgotten; in "I.T." and "example.org" it was not.
    return (
        not closers
        and following.isupper()
        and text[end + 1 : end + 2].islower()
        and start >= 2
        and text[start - 2 : start].isalpha()
        and text[start - 2 : start].islower()
    )


def _last_word(text: str, start: int) -> str:
    """The word before the mark at `start`, even if a space stands between them, as in tokenised text."""
    words = text[max(0, start - 24) : start].split()
    return words[-1].lstrip("\"'“‘([") if words else ""


def _plain_word_before(text: str, start: int) -> bool:
    """True if a plain word of at least three letters comes before, as in `bad film. i hated it`, but not in
    `J . r . r . tolkien` or `approx. five`.
    """
    word = _last_word(text, start)
    known = word in _ANNOUNCE or word in _SHORTENED or word in _MONTHS
    return len(word) >= 3 and word.isalpha() and word.islower() and not known


def _shortened_before(text: str, border: re.Match[str]) -> bool:
    word = _last_word(text, border.start())
    lower, following = word.lower(), text[border.end()]
    if lower in _ANNOUNCE:
        return True
    if lower in _MONTHS or lower in ("no", "nos"):  # "No. 5" and "Dec. 24", but not "Oh no. Then …"
        return following.isdigit()
    initial = len(word) == 1 and word.isalpha() and word.isupper() and word != "I"
    dotted = "." in word and all(len(part) == 1 and part.isalpha() for part in word.split("."))
    if initial or dotted:
        return text[border.end()].isalpha() and not _OPENER.match(text, border.end())
    return False


def _is_chinese(character: str) -> bool:
    return "㐀" <= character <= "鿿" or character in "“‘《「『（【"

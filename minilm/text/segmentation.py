"""Cut a text into the units that a tagger tags: characters, words, or a mix of both.

A rule is a pure function from a text to the (start, end) offsets of its units. They increase and do not overlap, and every
visible character lies in exactly one of them. `segmentation_choice.py` decides, from the training data, which rule a
tagger needs.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

from minilm.errors import InputError
from minilm.text.characters import shows

Span = tuple[int, int]

_CHUNK = re.compile("[^\\s\u200b]+")  # a zero-width space separates words, too
_ADDRESS = re.compile(r"\w+://\S|www\.\w|[\w.+-]+@[\w-]+\.\w")  # http://a.org/?b=1,2 and bo@bonn.de stay whole
WIDE = "\u3001-\u3004\u3008-\u303f\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"  # punctuation of Chinese
# Marks that stand alone inside a word, too; those in the last group do so unless digits stand on both sides (3,5; 10:30).
_APART = re.compile(rf"-{{2,}}|\.{{3,}}|…+|—+|[()\[\]{{}}<>|\"“”„«»‹›‘{WIDE}]|(?<!\d)[,;:!?–]|[,;:!?–](?!\d)")
_RUN = re.compile(r"\.{2,}|-{2,}")
_INITIALS = re.compile(r"(?:[^\W\d_]\.)+")  # J. and U.S. and e.g.
_ABBREVIATIONS = frozenset(
    "mr mrs ms messrs mme dr prof st gen sen rep gov pres capt cpt lt col sgt maj cmdr rev hon fr mt ft jr sr inc ltd"
    " co corp bros vs etc approx vol fig dept univ jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_CLITIC = re.compile(r"(?:(?<=\w)n['’]t|(?<=\w)['’](?:s|re|ve|ll|d|m))$", re.IGNORECASE)
_LETTER_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])")
ALONE = re.compile(
    "[\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"  # Chinese characters, kana and bopomofo
)
# Scripts that are written without spaces between words: the same, and those of Thai, Lao, Tibetan, Burmese and Khmer.
UNSPACED = re.compile(f"(?:{ALONE.pattern}|[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff])+")


@cache
def _kind(character: str) -> str:
    """L for a letter, M for a mark that belongs to the character before it, N, P, S … as Unicode says."""
    return unicodedata.category(character)[0]


# ---------------------------------------------------------------------------------------------- the rules


def characters(text: str) -> list[Span]:
    """Every visible character, with the accents and marks that belong to it."""
    found: list[Span] = []
    for i, character in enumerate(text):
        if _kind(character) == "M" and found and found[-1][1] == i:
            found[-1] = (found[-1][0], i + 1)
        elif shows(character):
            found.append((i, i + 1))
    return found


def spaces(text: str) -> list[Span]:
    """The words between spaces, with the punctuation that touches them."""
    return _trimmed(text, (chunk.span() for chunk in _CHUNK.finditer(text)))


def words(text: str) -> list[Span]:
    """The words between spaces, while punctuation stands alone: `Bonn,` is `Bonn` and `,`.

    `don't`, `well-known`, `3.5`, `U.S.`, `Mr.`, `C++`, `#tag` and addresses stay whole. Brackets, quotes and Chinese
    punctuation stand alone inside a word, too.
    """
    return _trimmed(text, (part for start, end in spaces(text) for part in _parts(text, start, end)))


def clitics(text: str) -> list[Span]:
    """As `words`, but `Bonn's` is `Bonn` and `'s`, and `don't` is `do` and `n't`."""
    found: list[Span] = []
    for start, end in words(text):
        ending = _CLITIC.search(text, start, end)
        at = ending.start() if ending and ending.start() > start else end
        found += [(start, at), (at, end)] if at < end else [(start, end)]
    return found


def mixed(text: str) -> list[Span]:
    """Every Chinese character and every kana alone, and everything else as `words`."""
    found: list[Span] = []
    for start, end in spaces(text):
        last = start
        for single in ALONE.finditer(text, start, end):
            found += words_in(text, last, single.start())
            found.append(single.span())
            last = single.end()
        found += words_in(text, last, end)
    return _with_marks(text, found)


def mixed_digits(text: str) -> list[Span]:
    """As `mixed`, but letters and digits are apart: `iPhone15` is `iPhone` and `15`."""
    found: list[Span] = []
    for start, end in mixed(text):
        cuts = [start, *(cut.start() for cut in _LETTER_DIGIT.finditer(text, start, end)), end]
        found += [(a, b) for a, b in zip(cuts, cuts[1:], strict=False) if a < b]
    return found


def marks(text: str) -> list[Span]:
    """As BERT's tokenizer cuts: every punctuation mark and every Chinese character alone, everything else by spaces."""
    found: list[Span] = []
    for start, end in spaces(text):
        begin = start
        for i in range(start, end):
            if _kind(text[i]) == "P" or text[i] in "$+<=>^`|~" or ALONE.match(text[i]):
                found += [(begin, i), (i, i + 1)]
                begin = i + 1
        found.append((begin, end))
    return _with_marks(text, _trimmed(text, found))


Rule = Callable[[str], list[Span]]
TOKENIZER = "tokenizer"  # the tokenizer's own words: how a tagger from elsewhere cuts text, and an older one of ours
RULES: dict[str, tuple[Rule, str]] = {
    "characters": (characters, "every character is a unit"),
    "words": (words, "words, with punctuation apart"),
    "clitics": (clitics, "words, with punctuation and endings such as 's and n't apart"),
    "mixed": (mixed, "every Chinese character is a unit, and so is every word of other scripts"),
    "mixed-digits": (mixed_digits, "every Chinese character, every word and every number is a unit"),
    "marks": (marks, "words, with every punctuation mark and every Chinese character apart"),
    "spaces": (spaces, "whatever stands between spaces is a unit"),
}


def rule_named(name: str, where: str = "the model") -> Rule:
    """The rule of this name. Raises InputError for a name that is not known."""
    if not isinstance(name, str) or name not in RULES:  # config.json may hold anything
        known = ", ".join([*RULES, TOKENIZER])
        raise InputError(f"{where}: text is cut by the rule {name!r}, which is not known here ({known}).")
    return RULES[name][0]


def words_in(text: str, start: int, end: int) -> list[Span]:
    """The words of text[start:end], which has no spaces."""
    return _trimmed(text, _parts(text, start, end)) if start < end else []


def _parts(text: str, start: int, end: int) -> Iterator[Span]:
    """A chunk without spaces, cut at the marks inside it and around it."""
    last = start
    if not _ADDRESS.match(text, start, end):
        for mark in _APART.finditer(text, start, end):
            yield from _peeled(text, last, mark.start())
            yield mark.span()
            last = mark.end()
    yield from _peeled(text, last, end)


def _peeled(text: str, start: int, end: int) -> Iterator[Span]:
    """A word and the punctuation before and after it, each mark alone (but `..` and `--` together)."""
    after: list[Span] = []
    while start < end and (width := _mark_before(text, start, end)):
        yield start, start + width
        start += width
    while start < end and (width := _mark_after(text, start, end)):
        after.append((end - width, end))
        end -= width
    if start < end:
        yield start, end
    yield from reversed(after)


def _mark_before(text: str, start: int, end: int) -> int:
    """How many characters at the start are a mark that stands alone; 0 if a word begins here."""
    if run := _RUN.match(text, start, end):
        return len(run[0])
    first, then = text[start], text[start + 1 : min(start + 2, end)]
    if not shows(first):
        return 1
    belongs = (first in "@#" and then.isalnum()) or (first in "+-−.±" and then.isdigit()) or first in "_&"
    return int(_kind(first) in "PS" and not belongs)


def _mark_after(text: str, start: int, end: int) -> int:
    """How many characters at the end are a mark that stands alone; 0 if the word ends here."""
    last, core = text[end - 1], text[start : end - 1]
    if not shows(last):
        return 1
    if last == "." and core.endswith("."):
        return 1 if _shortened(core) else len(core) + 1 - len(core.rstrip("."))
    if last == ".":
        vitamin_c = len(core) == 1 and not any(map(str.isalnum, text[end:]))  # a letter at the end of the whole text
        return int(vitamin_c or not _shortened(core + last))
    return int(_kind(last) in "PS" and not (last in "+#" and core and core.rstrip("+#")[-1:].isalnum()) and last != "_")


def _shortened(word: str) -> bool:
    """Whether the period belongs to the word: `U.S.`, `J.`, `Mr.`"""
    return bool(_INITIALS.fullmatch(word)) or word.lower().removesuffix(".") in _ABBREVIATIONS


def _trimmed(text: str, spans: Iterator[Span] | list[Span]) -> list[Span]:
    """The spans without invisible characters at their ends; those with nothing visible are left out."""
    found = []
    for start, end in spans:
        while start < end and not shows(text[start]):
            start += 1
        while start < end and not shows(text[end - 1]):
            end -= 1
        if start < end:
            found.append((start, end))
    return found


def _with_marks(text: str, spans: list[Span]) -> list[Span]:
    """The spans, where one that begins with an accent or another mark is joined to the character that it belongs to."""
    found: list[Span] = []
    for start, end in spans:
        border = start
        while found and found[-1][1] == border and border < end and _kind(text[border]) == "M":
            border += 1
            found[-1] = (found[-1][0], border)
        if border < end:
            found.append((border, end))
    return found

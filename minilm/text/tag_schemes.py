"""The ways of writing where an entity begins and ends, and all of them as BIO.

    BIO (IOB2)    B-PER begins a person, I-PER continues it, O is no entity
    IOB1          I-PER, too, begins a person; B-PER only does so where one person follows another
    IOE           E-PER ends a person (IOE2), or only does so where one person follows another (IOE1)
    BIOES         B begins, I continues, E ends, and S is an entity of one token
    BILOU         the same with L for E and U for S
    BMES, BMEWO   the same with M for I, and in BMEWO with W for S
    bare          PER, PER, O: neighbouring tokens of one type are one entity

The type may also stand first (PER-B), and an underscore may take the place of the hyphen.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from minilm.errors import InputError

OUTSIDE = "O"
LETTERS = {"BIO": "BI", "IOE": "IE", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES", "BMEWO": "BMEW"}
_BEGIN, _MIDDLE, _END, _SINGLE = "B", "IM", "EL", "SUW"
_ANY = _BEGIN + _MIDDLE + _END + _SINGLE
_KIND = r"(\S(?:.*\S)?)"


class Scheme(NamedTuple):
    """How tags are written: the scheme's name, what separates letter and type (nothing in bare tags), and their order."""

    name: str
    separator: str = "-"
    type_first: bool = False

    def split(self, tag: str) -> tuple[str, str]:
        """The letter and the type of a tag. The letter of a bare tag is I, and that of O is O."""
        if tag == OUTSIDE:
            return OUTSIDE, ""
        if self.name == "bare":
            return "I", tag
        return (tag[-1], tag[:-2]) if self.type_first else (tag[0], tag[2:])

    def join(self, letter: str, kind: str) -> str:
        """The tag with this letter and type."""
        if self.name == "bare":
            return kind
        return f"{kind}{self.separator}{letter}" if self.type_first else f"{letter}{self.separator}{kind}"

    def to_bio(self, tags: Sequence[str]) -> list[str]:
        """The tags of a line as BIO.

        A tag that should continue an entity, but follows none of its type, begins one, as CoNLL's own script reads it. So
        no token of an entity is lost, even if the tags do not follow the scheme.
        """
        out: list[str] = []
        inside = None  # the type of the entity that the next token may continue
        for tag in tags:
            letter, kind = self.split(tag)
            if letter == OUTSIDE:
                out.append(OUTSIDE)
                inside = None
                continue
            begins = letter in _BEGIN + _SINGLE or kind != inside
            out.append(f"{'B' if begins else 'I'}-{kind}")
            inside = None if letter in _END + _SINGLE else kind
        return out

    def from_bio(self, tags: Sequence[str], known: Collection[str]) -> list[str]:
        """BIO tags in this scheme. `known` are the tags that there are: where a B-… is missing, an I-… takes its place."""
        last = [following[:1] != "I" for following in (*tags[1:], OUTSIDE)]
        return [
            tag if tag == OUTSIDE else self._known(tag[0] == "B", ends, tag[2:], known)
            for tag, ends in zip(tags, last, strict=False)
        ]

    def _known(self, begins: bool, ends: bool, kind: str, known: Collection[str]) -> str:
        letters = _SINGLE if begins and ends else ""
        letters += (_BEGIN if begins else "") + (_END if ends else "") + _MIDDLE
        mine = [letter for letter in letters if letter in LETTERS.get(self.name, "I")]
        choices = [self.join(letter, kind) for letter in mine]
        return next((tag for tag in choices if tag in known), choices[0])

    def allowed_steps(self, labels: Sequence[str]) -> list[list[bool]]:
        """Which step from tag to tag occurs in some line that `from_bio` writes with these K labels: [K + 1][K + 1].

        Entry [i][j] is the step from label i to label j; row K is the start of a line, and column K is its end. A label may
        stand for tokens that begin or continue an entity, and that end it or do not. A step is possible if what ends is
        followed by what begins, or what goes on by what continues it.
        """
        roles = [(OUTSIDE, True, True)]  # (type, begins, ends); outside, every token is a thing of its own
        for kind in dict.fromkeys(self.split(label)[1] for label in labels if label != OUTSIDE):
            roles += [(kind, begins, ends) for begins in (True, False) for ends in (True, False)]
        stands_for: dict[str, list[tuple[str, bool, bool]]] = {label: [] for label in labels}
        for kind, begins, ends in roles:
            label = OUTSIDE if kind == OUTSIDE else self._known(begins, ends, kind, labels)
            stands_for.setdefault(label, []).append((kind, begins, ends))
        border = [(OUTSIDE, True, True)]
        rows = [*(stands_for[label] for label in labels), border]
        return [[any(_follows(a, b) for a in before for b in after) for after in rows] for before in rows]


def _follows(before: tuple[str, bool, bool], after: tuple[str, bool, bool]) -> bool:
    """Whether a token may come after another, both as (type, begins an entity, ends it)."""
    return before[2] == after[1] and (after[1] or before[0] == after[0])


BIO, BARE = Scheme("BIO"), Scheme("bare", "")


def recognise(tags: Iterable[str], place: Callable[[str], str]) -> Scheme:
    """The scheme of a set of tags. `place` says, for a message, where a tag stands: "a.conll, line 3".

    Raises InputError, naming a tag, if they are not all written in one scheme, or if they name no entities (LABEL_0, NOUN).
    """
    different = list(dict.fromkeys(tags))
    inside = [tag for tag in different if tag != OUTSIDE]
    if not inside:
        return BIO
    if numbered := [tag for tag in inside if re.fullmatch(r"LABEL_\d+|\d+", tag)]:
        what = f"{numbered[0]!r} is a number and names no entity"
        raise InputError(f"{place(numbered[0])}: {what}; write O, B-… or I-….")
    found = list(_schemes(inside))
    if found:
        return found[0]
    fits = {tag: marks_border(tag) for tag in inside}
    if not any(fits.values()) and OUTSIDE in different and not any(map(_without_type, inside)):
        return BARE
    odd = next(tag for tag in inside if not fits[tag]) if not all(fits.values()) else _other_scheme(inside)
    if not any(fits.values()) and len(inside) > 1 and OUTSIDE not in different:
        names = ", ".join(sorted(inside)[:4])
        what = f"the tags ({names} …) include no O and do not say where an entity begins, so they do not mark entities"
        raise InputError(f"{place(odd)}: {odd[:20]!r} is not a BIO tag: {what}.")
    raise InputError(f"{place(odd)}: {odd[:20]!r} is not a BIO tag; write O, B-… or I-….")


def _schemes(tags: Sequence[str]) -> Iterator[Scheme]:
    """The schemes that fit all tags; the likeliest comes first."""
    found = []
    for type_first in (False, True):
        for separator in "-_":
            letters = {_letter(tag, separator, type_first) for tag in tags}
            name = next((name for name, known in LETTERS.items() if letters <= {*known}), None)
            if name:
                found.append((not letters & {"B", "I"}, Scheme(name, separator, type_first)))
    yield from (scheme for _, scheme in sorted(found, key=lambda each: each[0]))


def _letter(tag: str, separator: str, type_first: bool) -> str:
    """The letter of a tag in this form; "?" if it does not have the form."""
    form = f"{_KIND}{separator}([{_ANY}])" if type_first else f"([{_ANY}]){separator}{_KIND}"
    match = re.fullmatch(form, tag)
    return match[2 if type_first else 1] if match else "?"


def _without_type(tag: str) -> bool:
    return bool(re.fullmatch(f"[{_ANY}][-_]?", tag))


def marks_border(tag: str) -> bool:
    """Whether a tag says where an entity begins, in some scheme."""
    return any(_letter(tag, separator, first) != "?" for separator in "-_" for first in (False, True))


def _other_scheme(tags: Sequence[str]) -> str:
    """The first tag that does not fit those before it."""
    return next(tag for i, tag in enumerate(tags) if not list(_schemes(tags[: i + 1])))

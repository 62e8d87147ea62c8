"""Texts with two marked entities, whose relation is to be told: `<e1>Anna</e1> was born in <e2>Bonn</e2>.`

The form is that of SemEval-2010 Task 8 (Hendrickx et al., 2010).
"""

import re
from collections.abc import Sequence

from minilm.errors import InputError
from minilm.text.characters import visible
from minilm.text.tokenizer import Tokenizer

MARKER = re.compile(r"</?e[12]>")
ORDERS = (["<e1>", "</e1>", "<e2>", "</e2>"], ["<e2>", "</e2>", "<e1>", "</e1>"])
SIGNS = "@#^~|§¤¦¬±†‡•※＠＃＊＾～｜＄％＆＋＝＜＞＿｀｛｝［］{}[]<>*=_\\/$%&+`;:\"'()!?,.-"  # rare ones first


def marked(text: str, signs: Sequence[str], name: str) -> str:
    """The text with the sign of each entity before and behind it in place of the markers.

    Raises InputError, which begins with `name`, if an entity is not marked, is marked twice or is empty, if the two overlap, and
    if the text itself has one of the signs, because the model could not tell it from a marker.
    """
    found = MARKER.findall(text)
    if missing := [marker for marker in ORDERS[0] if marker not in found]:
        raise InputError(f"{name} has no {missing[0]}: mark both entities, as in <e1>Anna</e1> lives in <e2>Bonn</e2>.")
    if twice := [marker for marker in ORDERS[0] if found.count(marker) > 1]:
        raise InputError(f"{name} has {twice[0]} more than once: mark two entities, each once.")
    if found not in ORDERS:
        raise InputError(
            f"{name}: the markers overlap or are in the wrong order ({' '.join(found)}): close one before the next."
        )
    for number in "12":
        inside = text[text.index(f"<e{number}>") + 4 : text.index(f"</e{number}>")]
        if not visible(inside):
            raise InputError(f"{name}: there is nothing between <e{number}> and </e{number}>.")
    if own := [sign for sign in signs if sign in MARKER.sub("", text)]:
        raise InputError(f"{name} has the sign {own[0]!r}, which marks entities in this model: write another one.")
    for number, sign in zip("12", signs, strict=True):
        text = text.replace(f"<e{number}>", f" {sign} ").replace(f"</e{number}>", f" {sign} ")
    return text


def choose_markers(tokenizer: Tokenizer, texts: Sequence[str]) -> tuple[str, str]:
    """Two signs that are tokens of the vocabulary, and that none of the texts has. Raises InputError if there are not two."""
    used = {character for text in texts for character in MARKER.sub("", text)}
    free = [
        sign
        for sign, ids in zip(SIGNS, tokenizer.ids([*SIGNS]), strict=True)
        if sign not in used and len(ids) == 1 and ids[0] != tokenizer.unknown and tokenizer.tokens(ids) == [sign]
    ]
    if len(free) < 2:
        raise InputError(
            "the vocabulary has no two signs that the texts do not have, to mark the entities with: use another model, or "
            "remove rare punctuation from the texts."
        )
    return free[0], free[1]

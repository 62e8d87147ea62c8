"""Decide from the training data of a tagger how it cuts text into units, and write tokens as text.

The rules are in `segmentation.py`. The choice is made once and stored with the model, so that it tags the same units when it
is trained, evaluated and used.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from minilm.text.segmentation import ALONE, RULES, UNSPACED, WIDE, Span


class Choice(NamedTuple):
    """The rule for a tagger, the share of the training tokens that it gives back, and a token that it does not.

    `longest_word` is 0, or, if the data has words of a script that is written without spaces, the number of characters of
    the longest of them: such text can only be cut if spaces are put between its words.
    """

    rule: str
    share: float
    longest_word: int = 0
    lost: str = ""


ENOUGH = 0.9  # a rule that gives back fewer tokens than this cuts another kind of units


def choose_rule(lines: Sequence[Sequence[str]], most: int = 2000) -> Choice:
    """The first rule that gives all tokens back when each line is written as a text and cut again, or else the best one.

    If the rules fail because the tokens are Chinese words (or words of another script without spaces), the lines are
    written with spaces between all tokens. At most `most` of the lines are looked at, spread over the whole.
    """
    looked_at = [lines[i * len(lines) // most] for i in range(most)] if len(lines) > most else list(lines)
    best = _best(looked_at, written)
    if best.share < ENOUGH and (longest := max(map(longest_unspaced, map(" ".join, lines)), default=0)) > 1:
        best = _best(looked_at, with_spaces)._replace(longest_word=longest)
    return best


def _best(lines: Sequence[Sequence[str]], write: Callable[[Sequence[str]], tuple[str, list[Span]]]) -> Choice:
    texts = [write(line) for line in lines]
    best = Choice("spaces", -1.0)
    for name, (rule, _) in RULES.items():
        total, lost = 0, []
        for text, spans in texts:
            given = set(rule(text))
            total += len(spans)
            lost += [text[start:end] for start, end in spans if (start, end) not in given]
        share = 1 - len(lost) / total if total else 1.0
        if share > best.share:
            best = Choice(name, share, 0, lost[0] if lost else "")
        if share == 1:
            break
    return best


def share_given_back(lines: Sequence[Sequence[str]], rule: str, longest_word: int) -> float:
    """The share of the tokens that the rule of a model gives back when the lines are written as texts."""
    write = with_spaces if longest_word else written
    pairs = [(set(RULES[rule][0](text)), spans) for text, spans in map(write, lines)]
    total = sum(len(spans) for _, spans in pairs)
    return sum(span in given for given, spans in pairs for span in spans) / total if total else 1.0


def longest_unspaced(text: str) -> int:
    """The length of the longest stretch of Chinese, or of another script without spaces between words."""
    return max((len(run[0]) for run in UNSPACED.finditer(text)), default=0)


# ---------------------------------------------------------------------------------------------- tokens as text

_QUOTES, _OPENING = frozenset("\"'"), frozenset("([{„«‹‘“$£€¿¡")
_CLOSING = ",.;:!?)]}%…”’»›"
_ENDING = re.compile(r"n['’]t|['’](?:s|re|ve|ll|d|m)", re.IGNORECASE)
_WIDE_MARK = re.compile(f"[{WIDE}]")


def with_spaces(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """The tokens as a text with a space between any two, and the offsets of each of them."""
    return _joined(tokens, lambda i: False)


def as_shown(tokens: Sequence[str], rule: str, longest_word: int = 0) -> tuple[str, list[Span]]:
    """Tokens of a file as one text, and the offsets of each of them: with spaces, but without any if the units are
    characters, and without spaces beside Chinese characters if most of the tokens are such characters."""
    if rule == "characters":
        return _joined(tokens, lambda i: True)
    apart = longest_word or rule in ("words", "clitics", "spaces")
    chinese = not apart and 2 * sum(_wide(token[:1]) for token in tokens) > len(tokens)
    return _joined(tokens, lambda i: chinese and (_wide(tokens[i - 1][-1:]) or _wide(tokens[i][:1])))


def written(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """The tokens as a person would write them, and the offsets of each: no space beside Chinese characters, before a comma
    or after an opening bracket; `iPhone` and `15` touch if Chinese stands around them."""
    opened: set[str] = set()  # the quotes that the next mark of their kind closes
    glued = [True]
    for i, (before, token) in enumerate(zip(tokens, tokens[1:], strict=False), start=1):
        after_opening = before in _OPENING and not (before == "“" and "„" in opened)
        if before in _QUOTES:
            opened ^= {before}
            after_opening = before in opened
        elif before in ("„", "“"):
            opened = opened | {"„"} if before == "„" else opened - {"„"}
        closing = token[:1] in _CLOSING and not any(map(str.isalnum, token)) or bool(_ENDING.fullmatch(token))
        closing = closing or token in opened & _QUOTES or (token == "“" and "„" in opened)
        beside = _wide(before[-1:]) or _wide(token[:1]) or bool(UNSPACED.match(before[-1:]) and UNSPACED.match(token))
        glued.append(after_opening or closing or beside or _number_in_chinese(tokens, i))
    return _joined(tokens, glued.__getitem__)


def _wide(character: str) -> bool:
    return bool(character) and bool(ALONE.match(character) or _WIDE_MARK.match(character))


def _number_in_chinese(tokens: Sequence[str], i: int) -> bool:
    """Whether token i and the one before it are a word and a number with nothing but Chinese around them."""
    pair = tokens[i - 1], tokens[i]
    around = [*tokens[max(0, i - 2) : i - 1], *tokens[i + 1 : i + 2]]
    return (
        any(map(str.isdigit, pair))
        and any(map(str.isalpha, pair))
        and bool(around)
        and all(_wide(token[:1]) for token in around)
    )


def _joined(tokens: Sequence[str], glued: Callable[[int], bool]) -> tuple[str, list[Span]]:
    parts: list[str] = []
    spans, place = [], 0
    for i, token in enumerate(tokens):
        space = "" if i == 0 or glued(i) else " "
        parts += [space, token]
        place += len(space)
        spans.append((place, place + len(token)))
        place += len(token)
    return "".join(parts), spans

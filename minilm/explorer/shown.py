"""How tokens and numbers are written in the page: as words, and short."""

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np
from tokenizers import decoders

from minilm.text.tokenizer import Tokenizer

BLANKS = {"\n": "⏎", "\t": "⇥", " ": "␣"}


def token_words(tokenizer: Tokenizer, ids: Iterable[int]) -> list[dict[str, Any]]:
    """Each token as the page shows it: "text", "joined" (it continues the word before), "special" ([CLS] and the like)."""
    ids = [int(i) for i in ids]
    return [
        {
            "text": word_of(tokenizer, i),
            "joined": n > 0 and continues(tokenizer, i),
            "special": i in tokenizer.special_ids,
        }
        for n, i in enumerate(ids)
    ]


def continues(tokenizer: Tokenizer, i: int) -> bool:
    """Whether a token continues a word: in WordPiece it begins with ##, and in byte-level BPE it has no space in front."""
    if i in tokenizer.special_ids:
        return False
    (token,) = tokenizer.tokens([i])
    if isinstance(tokenizer.backend.decoder, decoders.ByteLevel):
        return tokenizer.text([i])[:1].isalnum()
    return token.startswith("##") and len(token) > 2


def word_of(tokenizer: Tokenizer, i: int) -> str:
    """A token as a reader knows it: without the ## of a piece, and with a sign for a space or a line break."""
    (token,) = tokenizer.tokens([i])
    if i in tokenizer.special_ids:
        return token
    text = token[2:] if continues(tokenizer, i) and token.startswith("##") else tokenizer.text([i]) or token
    return text.strip() or "".join(BLANKS.get(c, c) for c in text) or token


def guess_of(tokenizer: Tokenizer, i: int) -> str:
    """A token that is guessed. One that continues a word begins with "…"."""
    return ("…" if continues(tokenizer, i) else "") + word_of(tokenizer, i)


def short(p: float) -> float:
    """A probability in as many digits as the page can show."""
    return float(f"{p:.3g}")


def packed(weights: np.ndarray) -> str:
    """Numbers from 0 to 1 as one byte each (0 to 255), in base64: a third of the size of their digits."""
    return base64.b64encode(np.round(np.clip(weights, 0, 1) * 255).astype(np.uint8).tobytes()).decode("ascii")

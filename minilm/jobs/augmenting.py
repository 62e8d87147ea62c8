"""Augmentation for a model: where its neighbours and its guesses come from.  F25, F34."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.augmentation import drop_words, nearest_tokens, replace_by_guesses, replace_by_neighbours
from minilm.examples.batching import Batch
from minilm.pretrained.protocol import open_pretraining
from minilm.text.tokenizer import Tokenizer

Augmenter = Callable[[Batch], Batch]
Way = Literal["", "word-dropout", "neighbours", "masked-lm"]
K = 5  # neighbours of a token


def augmenter(
    way: Way,
    share: float,
    seed: int,
    tokenizer: Tokenizer,
    model: nn.Module,
    pretrained: str,
    device: torch.device | None = None,
) -> Augmenter | None:
    """A function that changes the texts of a batch in this way; None for no way.

    Neighbours are those in the embedding table of `model` as it is now, and guesses those of the model in the folder `pretrained`,
    which stays as it is and computes on `device`. Raises InputError if that does not guess masked words.
    """
    generator, special = torch.Generator().manual_seed(seed), tokenizer.special_ids
    if way == "word-dropout":
        return lambda batch: drop_words(batch, share, special, tokenizer.pad, generator)
    if way == "neighbours":
        encoder: Any = model.encoder
        neighbours = neighbours_of(encoder.token_table.weight.detach().cpu(), tokenizer)
        return lambda batch: replace_by_neighbours(batch, share, special, neighbours, generator)
    if way == "masked-lm":
        where = device or torch.device("cpu")
        guesser = open_pretraining(pretrained).model.eval().to(where)
        if not hasattr(guesser, "mlm_head"):
            raise InputError(f"{pretrained} does not guess masked words: choose word-dropout or neighbours.")
        unknown = sorted({*range(guesser.config.vocab_size)} - {*tokenizer.backend.get_vocab().values()})

        @torch.no_grad()
        def logits_of(batch: Batch, places: Tensor) -> Tensor:
            batch, places = batch.to(where), places.to(where)
            return guesser(batch.input_ids, batch.token_type_ids, batch.attention_mask, places).mlm_logits

        never = [*special, *unknown]  # a table may have rows without tokens
        return lambda batch: replace_by_guesses(batch, share, never, tokenizer.mask, logits_of, generator)
    return None


def neighbours_of(table: Tensor, tokenizer: Tokenizer) -> Tensor:
    """The K nearest tokens of each token [V, K]: words are neighbours of words, and pieces that continue words of such pieces."""
    kinds = torch.full((len(table),), -1)
    for token, i in tokenizer.backend.get_vocab().items():
        kinds[i] = int(token.startswith("##"))
    kinds[tokenizer.special_ids] = -1
    return nearest_tokens(table, K, kinds)

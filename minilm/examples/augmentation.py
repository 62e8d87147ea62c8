r"""Other texts with the same labels, made from those that there are: words left out, or replaced by words like them.  F01.

A label says something about a whole text, and mostly still holds when a few of its words change. So every epoch can show the model
other versions of the labelled texts. Each token of a text is chosen with probability p, [CLS] and other special tokens never, and

    word dropout          is left out
    neighbours            is replaced by one of the k tokens whose vectors are nearest to its own
    masked language model is hidden by [MASK], and a token is drawn in its place from P(w ∣ the rest of the text) (F25)

The labels stay as they are. Tokens are chosen and not whole words: of a word in several pieces, one piece may change.

Letters:  B batch · T length · V vocabulary · C width of the vectors · k neighbours · M tokens that were chosen
Sources:  Iyyer et al. (2015), Deep Unordered Composition Rivals Syntactic Methods, §3.2 (word dropout); Wang and Yang (2015), That's
          So Annoying!!! (neighbours); Kobayashi (2018), Contextual Augmentation (masked language model).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.batching import Batch

LogitsOf = Callable[[Batch, Tensor], Tensor]  # a batch and the flat places [M] of its [MASK] → logits [M, V]


def chosen_tokens(
    batch: Batch, share: float, special: Sequence[int], generator: torch.Generator
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Which tokens are chosen, each with probability `share`, and which could have been: no padding and nothing `special`.

    Raises InputError for a share that is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of tokens to change must be from 0 to 1, not {share}.")
    ids = batch.input_ids
    words = ~torch.isin(ids, torch.tensor(special, device=ids.device))
    if batch.attention_mask is not None:
        words &= batch.attention_mask
    drawn = torch.rand(ids.shape, generator=generator)  # on the processor, so that every device gets the same texts
    return words & (drawn < share).to(ids.device), words


def drop_words(batch: Batch, share: float, special: Sequence[int], pad: int, generator: torch.Generator) -> Batch:
    """The batch without the chosen tokens: the others move up, and rows are padded again. A text that would lose all of its
    words keeps all of them."""
    chosen, words = chosen_tokens(batch, share, special, generator)
    chosen &= (words & ~chosen).any(dim=1, keepdim=True)
    there = torch.ones_like(chosen) if batch.attention_mask is None else batch.attention_mask
    kept = there & ~chosen
    T = int(kept.sum(dim=1).max())
    order = (~kept).long().argsort(dim=1, stable=True)[:, :T]  # the places of what is kept, in order
    mask = kept.gather(1, order)
    ids = batch.input_ids.gather(1, order).masked_fill(~mask, pad)
    types = batch.token_type_ids
    if types is not None:
        types = types.gather(1, order).masked_fill(~mask, 0)
    return replace(batch, input_ids=ids, token_type_ids=types, attention_mask=mask)


def nearest_tokens(
    table: Float[Tensor, "V C"], k: int, kinds: Int[Tensor, " V"], block: int = 1024
) -> Int[Tensor, "V k"]:
    """For each token, the k others of its kind whose vectors have the largest cosine with its own.

    `kinds` keeps apart what cannot stand for each other, such as words and pieces that continue words; −1 is for tokens that are
    nobody's neighbour. A token with fewer than k others of its kind gets itself in the free places.
    """
    unit = table / table.norm(dim=1, keepdim=True).clamp(min=1e-12)
    V = len(table)
    out = torch.arange(V, device=table.device)[:, None].repeat(1, k)
    for start in range(0, V, block):  # the whole table of cosines could be larger than the memory
        rows = torch.arange(start, min(start + block, V), device=table.device)
        cosines = unit[rows] @ unit.T
        apart = (kinds[rows, None] != kinds[None]) | (kinds[None] < 0) | (rows[:, None] == torch.arange(V))
        best = cosines.masked_fill(apart, -torch.inf).topk(min(k, V), dim=1)
        out[rows, : best.indices.size(1)] = torch.where(best.values.isfinite(), best.indices, rows[:, None])
    return out


def replace_by_neighbours(
    batch: Batch, share: float, special: Sequence[int], neighbours: Int[Tensor, "V k"], generator: torch.Generator
) -> Batch:
    """The batch with each chosen token replaced by one of its k neighbours, all equally probable."""
    chosen, _ = chosen_tokens(batch, share, special, generator)
    ids = batch.input_ids
    which = torch.randint(neighbours.size(1), ids.shape, generator=generator).to(ids.device)
    others = neighbours.to(ids.device)[ids].gather(2, which[:, :, None])[:, :, 0]
    return replace(batch, input_ids=torch.where(chosen, others, ids))


def replace_by_guesses(
    batch: Batch, share: float, special: Sequence[int], mask_id: int, logits_of: LogitsOf, generator: torch.Generator
) -> Batch:
    """The batch with each chosen token replaced by one that is drawn from P(w ∣ the text with [MASK] at all chosen tokens).

    Special tokens are never drawn. The token that was there may be drawn again: where the context leaves no other word, the text
    should stay as it is.
    """
    chosen, _ = chosen_tokens(batch, share, special, generator)
    if not chosen.any():
        return batch
    ids = batch.input_ids
    masked = replace(batch, input_ids=ids.masked_fill(chosen, mask_id))
    logits = logits_of(masked, chosen.flatten().nonzero().flatten()).float().cpu()  # [M, V]
    logits[:, list(special)] = -torch.inf
    drawn = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return replace(batch, input_ids=ids.masked_scatter(chosen, drawn.to(ids.device)))

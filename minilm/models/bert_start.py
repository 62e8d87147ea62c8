r"""How BERT's heads start: they already look at the neighbours, and some compare the two segments.  F18, F21, F26.

Letters:  C model width · H heads · D size of a head · s features kept for each half of what is known about segments
Sources:  Clark et al. (2019), What Does BERT Look At? (such heads, found after training; here training starts from them);
          Radford et al. (2019), Language Models are Unsupervised Multitask Learners, §2.3 (small branches).

With a bias by relative position, looking next door is one number per head. (Learned positions need waves and a rotation for
it: `wave_start.py`.) What is left to arrange is the next sentence, for which a model of a few minutes is too young: two
segments belong together when they share words, so one head brings back in which segment a token occurs again, and in the
last block two heads collect this at [CLS].
"""

import math

import torch

from minilm.layers.attention import MultiHeadAttention
from minilm.layers.embeddings import Embeddings
from minilm.layers.positions import bucket
from minilm.layers.transformer import TransformerStack
from minilm.models import wave_start
from minilm.models.config import TransformerConfig

OFFSETS, PEAK = (-1, 1, -2, 2), 4.0  # head h adds PEAK to the score of the token at OFFSETS[h]
TOKENS, SEGMENTS = wave_start.TOKENS, wave_start.SEGMENTS
ALIKE = 12.0  # the score of the same token over one that has nothing to do with it


def start_heads(config: TransformerConfig, embeddings: Embeddings, stack: TransformerStack) -> None:
    """Arrange the heads of a model that has just been drawn, as far as its positions and its size allow."""
    if config.positions == "relative":
        look_next_door(stack)
        small_branches(stack)
        if reserved(config):
            tell_segments_apart(config, embeddings, stack)
    else:
        wave_start.look_at_neighbours(config, embeddings, stack)


def reserved(config: TransformerConfig) -> int:
    """How many features of the embeddings the start keeps for itself; word vectors have the rest."""
    if config.positions in ("learned", "mpnet"):
        return sum(wave_start.reserved(config.width, config.heads))
    if config.positions != "relative":
        return 0
    return 2 * max(1, min(config.width // config.heads, config.width // 32)) if config.heads > 2 else 0


def look_next_door(stack: TransformerStack, offsets: tuple[int, ...] = OFFSETS) -> None:
    """Let the first heads of every block prefer the tokens at `offsets`, one each: the bias is shared by all blocks."""
    assert stack.relative_bias is not None
    bias = stack.relative_bias
    for head, offset in zip(range(bias.table.size(1)), offsets):
        bias.table[bucket(torch.tensor(offset), bias.buckets, bias.farthest), head] = PEAK


def small_branches(stack: TransformerStack) -> None:
    """Scale what each branch adds to the residual stream by 1/√(2 · layers), so that a token is not drowned on its way up."""
    for block in stack.layers:
        for branch in (block.attention.output, block.feed_forward.outer):
            branch.weight.mul_((2 * len(stack.layers)) ** -0.5)


def tell_segments_apart(config: TransformerConfig, embeddings: Embeddings, stack: TransformerStack) -> None:
    r"""Give the segments features of their own, and let heads find out which segment has the same tokens.

    *Alike.* In the first block, the last head starts with Q = K, so that q_t · k_s is largest where the tokens t and s
    are the same. It brings back, into features of its own, in which segment the token occurs again. *Compare.* In the last
    block, `compare_segments` collects this.
    """
    C, heads, s = config.width, config.heads, reserved(config) // 2
    D = C // heads
    for table in (embeddings.tokens, embeddings.token_types):
        table.weight[:, : 2 * s] = 0
    embeddings.token_types.weight.zero_()[:, :s] = SEGMENTS * wave_start.sign(config.token_types)
    for block in stack.layers[:-1]:  # nothing else writes into these features
        block.attention.output.weight[: 2 * s] = 0
        block.feed_forward.outer.weight[: 2 * s] = 0

    # the share of the tokens in the variance by which the norm of the embeddings divides
    tokens = (C - 2 * s) * TOKENS**2
    share = tokens / (tokens + s * SEGMENTS**2)
    attention: MultiHeadAttention = stack.layers[0].attention
    query, key, value = attention.to_qkv.weight.view(3, heads, D, C)
    query[-1, :, : 2 * s] = 0
    query[-1] *= (ALIKE / math.sqrt(D) / share) ** 0.5
    key[-1] = query[-1]
    value[-1, :s] = 0
    value[-1, :s, :s] = torch.eye(s)
    attention.output.weight[s : 2 * s] = 0
    attention.output.weight[s : 2 * s, (heads - 1) * D : (heads - 1) * D + s] = torch.eye(s)
    if config.layers > 1:
        wave_start.compare_segments(config, stack.layers[-1].attention, 0, s, (heads - 2, heads - 1))

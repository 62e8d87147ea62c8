"""How a model with relative positions starts: heads that look next door, find the same token, and compare two segments."""

import numpy as np
import pytest
import torch
from tiny import seeded, started
from torch import nn

from minilm.layers.positions import POSITIONS
from minilm.models.bert_start import OFFSETS, PEAK, SEGMENTS, TOKENS, reserved
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import warm_start
from minilm.pretrained.bert import ARCHITECTURE

V, T = 900, 40
SHAPES = [(128, 4, 3), (128, 4, 2), (96, 3, 3), (192, 6, 4), (96, 2, 2), (64, 1, 3)]  # width, heads, layers
WITH_SEGMENTS = [shape for shape in SHAPES if shape[1] > 2]


def shaped(width, heads, layers, **changes):
    sizes = dict(vocab_size=V, width=width, heads=heads, layers=layers, feed_forward=2 * width, max_length=64)
    return TransformerConfig(**sizes | dict(positions="relative") | changes)


def arranged(model):
    """Which heads do something else than look next door, as (block, head): the alike one, found by its Q = K, and those of
    the last block that compare segments."""
    c, found = model.config, []
    for number, block in enumerate(model.encoder.stack.layers):
        query, key, _ = block.attention.to_qkv.weight.view(3, c.heads, -1, c.width)
        found += [
            (number, head) for head in range(c.heads) if torch.equal(query[head], key[head]) and query[head].any()
        ]
    comparing = [(c.layers - 1, c.heads - 2), (c.layers - 1, c.heads - 1)] if c.layers > 1 and c.heads > 2 else []
    return [place for place in found if place not in comparing], comparing


def attentions(model, ids, token_type_ids=None):
    with torch.no_grad():
        return model(ids, token_type_ids, need_weights=True).attentions  # layers × [B, H, T, T]


def by_offset(weights):
    """The mean weight of the token at each offset from −3 to 3, for one head's weights [B, T, T]."""
    return torch.stack([weights.diagonal(offset=offset, dim1=1, dim2=2).mean() for offset in range(-3, 4)])


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("shape", SHAPES)
def test_F21_head_h_of_every_block_starts_out_attending_to_the_token_at_its_offset(shape, norm):
    """That token gets more than ten times the mean weight of the others, and more than a token at any other offset near."""
    config = shaped(*shape, norm=norm)
    model, drawn = started(config, "neighbours"), started(config, "fan-in")
    ids = torch.randint(V, (8, T), generator=seeded(1))
    alike, comparing = arranged(model)
    looked = 0
    for number, (weights, before) in enumerate(zip(attentions(model, ids), attentions(drawn, ids), strict=True)):
        for head, offset in zip(range(config.heads), OFFSETS):
            if (number, head) not in alike + comparing:
                near = by_offset(weights[:, head])
                here = near[3 + offset]
                assert here > 10 * (1 - here) / (T - 1) and here == near.max(), (number, head)
                assert by_offset(before[:, head])[3 + offset] < 3 / T
                looked += 1
    assert looked == config.layers * min(config.heads, len(OFFSETS)) - sum(
        h < len(OFFSETS) for _, h in alike + comparing
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_F21_the_bias_is_one_peak_for_each_of_the_first_heads_and_nothing_else(shape):
    config = shaped(*shape)
    bias = started(config, "neighbours").encoder.stack.relative_bias(T, T)[0].detach()
    offset = torch.arange(T) - torch.arange(T)[:, None]
    for head in range(config.heads):
        expected = PEAK * (offset == OFFSETS[head]) if head < len(OFFSETS) else torch.zeros(T, T)
        assert torch.equal(bias[head], expected.float())


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("shape", [*WITH_SEGMENTS, (128, 4, 1), (160, 5, 5)])
def test_F18_one_head_starts_out_finding_the_same_token_elsewhere(shape, norm):
    """Twenty tokens occur twice: the twin gets far more than 1/40 of the attention, and with the token itself, nearly all."""
    config = shaped(*shape, norm=norm)
    own, twin = torch.arange(T), (torch.arange(T) + T // 2) % T
    found = []
    for seed in range(4):
        model = started(config, "neighbours", seed)
        ((number, head),), _ = arranged(model)
        ids = torch.randperm(V, generator=seeded(seed))[: T // 2].repeat(2)
        segment = (own >= T // 2).long()  # the twins stand in different segments, which must not keep them apart
        weights = attentions(model, ids[None], segment[None])[number][0, head]
        found.append((weights[own, own].mean(), weights[own, twin].mean()))
    itself, other = torch.tensor(found).mean(dim=0)
    assert itself + other > 0.8 and other > 5 / T


def pairs(n, shared, generator):
    """Rows [CLS] A [SEP] B [SEP] of random tokens, and whether `shared` of the 12 tokens of B are taken from A."""
    A, B = torch.randint(5, V, (2, n, 12), generator=generator)
    related = torch.arange(n) % 2 == 1
    to, origin = (torch.rand(n, 12, generator=generator).argsort(dim=1)[:, :shared] for _ in range(2))
    B = torch.where(related[:, None], B.scatter(1, to, A.gather(1, origin)), B)
    CLS, SEP = torch.full((n, 1), 2), torch.full((n, 1), 3)
    token_type_ids = (torch.arange(27) > 13).long().expand(n, 27)
    return torch.cat([CLS, A, SEP, B, SEP], dim=1), token_type_ids, related


def told_apart(config, scheme, shared=5, n=400):
    """The share of pairs that a least-squares fit on the first features of [CLS] gets right, on other pairs than it saw."""
    model = started(config, scheme)
    ids, token_type_ids, related = pairs(n, shared, seeded(3))
    with torch.no_grad():
        hidden = model.encoder(ids, token_type_ids, query_positions=torch.zeros(n, 1, dtype=torch.long))[0][:, 0]
    s = reserved(config) // 2
    two = torch.stack([hidden[:, :s].mean(dim=1), hidden[:, s : 2 * s].mean(dim=1), torch.ones(n)], dim=1)
    fitted = torch.linalg.lstsq(two[: n // 2], 2 * related[: n // 2, None].float() - 1).solution
    right = (two[n // 2 :] @ fitted)[:, 0] > 0
    return (right == related[n // 2 :]).float().mean().item()


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("shape", WITH_SEGMENTS)
def test_F26_two_features_of_cls_tell_pairs_that_share_words_from_pairs_that_do_not(shape, norm):
    """Chance is 0.5 with a standard error of 0.035 on the 200 pairs that are judged."""
    config = shaped(*shape, norm=norm)
    assert told_apart(config, "neighbours") > 0.75
    assert told_apart(config, "fan-in") < 0.62


@pytest.mark.parametrize("shape", [*SHAPES, (128, 4, 1)])
def test_the_start_changes_the_draws_of_the_branches_and_of_the_arranged_heads_alone(shape):
    """What a branch adds is 1/√(2 · layers) of what was drawn, and every other weight is what was drawn."""
    config = shaped(*shape)
    model, drawn = started(config, "neighbours"), started(config, "fan-in")
    kept = reserved(config)
    alike, comparing = arranged(model)
    for number, (block, before) in enumerate(zip(model.encoder.stack.layers, drawn.encoder.stack.layers, strict=True)):
        for ours, theirs in (
            (block.attention.output, before.attention.output),
            (block.feed_forward.outer, before.feed_forward.outer),
        ):
            torch.testing.assert_close(ours.weight[kept:], theirs.weight[kept:] * (2 * config.layers) ** -0.5)
        assert torch.equal(block.feed_forward.inner.weight, before.feed_forward.inner.weight)
        ours, theirs = (b.attention.to_qkv.weight.view(3, config.heads, -1, config.width) for b in (block, before))
        for head in range(config.heads):
            if (number, head) not in alike + comparing:
                assert torch.equal(ours[:, head], theirs[:, head])
    assert torch.equal(
        model.encoder.embeddings.tokens.weight[:, kept:], drawn.encoder.embeddings.tokens.weight[:, kept:]
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_F34_features_of_the_segments_are_0_in_the_token_table_and_word_vectors_leave_them(shape):
    config = shaped(*shape)
    embeddings, kept = started(config, "neighbours").encoder.embeddings, reserved(config)
    assert (kept > 0) == (config.heads > 2) and kept < config.width
    vectors = np.random.default_rng(0).normal(0, 3, (V, ARCHITECTURE.vector_size(config, "neighbours")))
    assert vectors.shape[1] + kept == config.width
    for table in (before := embeddings.tokens.weight.detach().clone(), embeddings.tokens.weight):
        assert (table[:, :kept] == 0).all() and table[:, kept:].std().item() == pytest.approx(TOKENS, rel=0.02)
        warm_start(embeddings.tokens, vectors.astype(np.float32))
    assert not torch.equal(before, embeddings.tokens.weight)
    if kept:
        types = embeddings.token_types.weight
        assert (types[0, : kept // 2] == SEGMENTS).all() and (types[1, : kept // 2] == -SEGMENTS).all()
        assert (types[:, kept // 2 :] == 0).all()


def test_the_same_generator_gives_the_same_bits():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(models))  # the global generator must not matter
        models.append(started(shaped(24, 3, 3), "neighbours", seed))
    first, again, other = (nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("token_types", [1, 2, 3])
def test_every_shape_starts_and_has_a_gradient(token_types, norm):
    """Tests odd widths, one and two heads, heads of one feature, and more heads than a segment has features."""
    shapes = [(6, 3), (7, 1), (6, 2), (5, 5), (9, 3), (96, 48), (128, 64), (3, 3), (1, 1), (33, 3)]
    for width, heads in shapes:
        for layers in (1, 2, 3):
            config = shaped(width, heads, layers, vocab_size=30, token_types=token_types, norm=norm)
            model = started(config, "neighbours")
            ids = torch.randint(5, 30, (3, 9), generator=seeded())
            token_type_ids = (torch.arange(9) * token_types // 9).expand(3, 9)
            output = model(ids, token_type_ids)
            upstream = torch.randn(output.mlm_logits.shape, generator=seeded(1))
            (output.mlm_logits * upstream).mean().add(output.nsp_logits[:, 0].mean()).backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(torch.isfinite(g).all() for g in gradients), (width, heads, layers)


@pytest.mark.parametrize("positions", POSITIONS)
def test_every_kind_of_positions_starts(positions):
    config = shaped(24, 3, 2, positions=positions)
    logits = started(config, "neighbours")(torch.randint(5, V, (2, 9), generator=seeded())).mlm_logits
    assert torch.isfinite(logits).all()

"""Encoder and decoder: the same numbers as models of `transformers`, and with a cache the same as without."""

import itertools

import pytest
import torch
from hypothesis import given, settings, strategies as st
from transformers import MarianConfig, MarianMTModel, PegasusConfig, PegasusForConditionalGeneration
from writers import V, W, seq2seq

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.models.generation import beam_search, generate
from minilm.models.initialisation import initialise
from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig, learning_rate_scales
from minilm.training.optimizer import parameter_groups
from minilm.training.translation import SequenceToSequence

B, S, T = 3, 7, 5
SOURCE = torch.randint(3, V, (B, S), generator=torch.Generator().manual_seed(1))
TARGET = torch.randint(3, V, (B, T), generator=torch.Generator().manual_seed(2))
MASK = torch.arange(S) < torch.tensor([[7], [4], [1]])

# ------------------------------------------------------------------------------- the referees


def joined(theirs, name):
    """Q, K and V of a layer of theirs as one product."""
    parts = [getattr(theirs, f"{part}_proj") for part in "qkv"]
    return torch.cat([getattr(part, name) for part in parts])


def pairs(ours, theirs):
    """Every number of ours, and the same of theirs."""
    yield ours.encoder.tokens.weight, theirs.model.shared.weight
    for table, part in ((ours.encoder.positions, theirs.model.encoder), (ours.positions, theirs.model.decoder)):
        yield table.weight, part.embed_positions.weight
    for stack, part in ((ours.encoder.stack, theirs.model.encoder), (ours.decoder, theirs.model.decoder)):
        for block, layer in zip(stack.layers, part.layers, strict=True):
            attentions = [(block.attention, layer.self_attn)]
            norms = [
                (block.attention_norm, layer.self_attn_layer_norm),
                (block.feed_forward_norm, layer.final_layer_norm),
            ]
            if block.cross_attention is not None:
                attentions.append((block.cross_attention, layer.encoder_attn))
                norms.append((block.cross_attention_norm, layer.encoder_attn_layer_norm))
            for one, other in attentions:
                for name in ("weight", "bias"):
                    yield getattr(one.to_qkv, name), joined(other, name)
                    yield getattr(one.output, name), getattr(other.out_proj, name)
            for one, other in norms:
                yield from ((one.gain, other.weight), (one.bias, other.bias))
            for one, other in ((block.feed_forward.inner, layer.fc1), (block.feed_forward.outer, layer.fc2)):
                yield from ((one.weight, other.weight), (one.bias, other.bias))
        if ours.config.norm == "pre":
            yield from ((stack.final_norm.gain, part.layer_norm.weight), (stack.final_norm.bias, part.layer_norm.bias))


REFEREES = {"post": (MarianConfig, MarianMTModel), "pre": (PegasusConfig, PegasusForConditionalGeneration)}


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F18_F20_values_and_every_gradient_equal_those_of_transformers(norm):
    """Marian is the post-norm encoder and decoder, Pegasus the pre-norm one."""
    torch.manual_seed(0)
    kind, model = REFEREES[norm]
    sizes = dict(vocab_size=V, d_model=12, encoder_layers=2, decoder_layers=2, max_position_embeddings=W)
    heads = dict(encoder_attention_heads=3, decoder_attention_heads=3, encoder_ffn_dim=20, decoder_ffn_dim=20)
    options = dict(scale_embedding=False, activation_function="gelu", dropout=0.0, attention_dropout=0.0)
    theirs = model(kind(**sizes, **heads, **options, pad_token_id=0, decoder_start_token_id=1)).double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) / 2)
    ours = seq2seq("sinusoidal", norm=norm, copy=False)
    with torch.no_grad():
        for one, other in pairs(ours, theirs):
            one.copy_(other)
    mask = (MASK[:, :S]).long()
    logits = theirs(input_ids=SOURCE, attention_mask=mask, decoder_input_ids=TARGET).logits
    found = ours(SOURCE, TARGET, MASK)
    torch.testing.assert_close(found, logits, rtol=0, atol=1e-12)
    assert found.std() > 1
    upstream = torch.randn(logits.shape, dtype=torch.float64)
    (logits * upstream).sum().backward()
    (found * upstream).sum().backward()
    for name, parameter in ours.named_parameters():
        assert parameter.grad is None or parameter.grad.abs().max() > 0, name
    gradients = list(zip(gradients_of(ours, "ours", theirs), gradients_of(ours, "theirs", theirs), strict=True))
    assert len(gradients) > 60
    for one, other in gradients:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def gradients_of(ours, side, theirs):
    """The gradients in the order of `pairs`. Those of Q, K and V are joined as their weights are."""
    for model in (ours, theirs):
        for parameter in model.parameters():
            parameter.data, parameter.grad = parameter.grad if parameter.grad is not None else parameter.data * 0, None
            parameter.requires_grad_(False)
    out = [(one if side == "ours" else other).clone() for one, other in pairs(ours, theirs)]
    for model in (ours, theirs):
        for parameter in model.parameters():
            parameter.grad = parameter.data.clone()
    return out


# ------------------------------------------------------------------------------- with a cache, and without

SHAPES = list(itertools.product(["relative", "learned", "sinusoidal", "rotary"], ["pre", "post"], [True, False]))


@pytest.mark.parametrize(("positions", "norm", "copy"), SHAPES)
def test_F18_written_token_by_token_it_gives_the_same_numbers(positions, norm, copy):
    model = seq2seq(positions, norm=norm, copy=copy)
    with torch.inference_mode():
        whole = model(SOURCE, TARGET, MASK)
        reader = model.reading(SOURCE, MASK)
        memory = reader.new_memory()
        for t in range(T):
            torch.testing.assert_close(
                reader.next_logits(TARGET[:, t : t + 1], memory), whole[:, t], rtol=0, atol=1e-12
            )
            torch.testing.assert_close(reader.next_logits(TARGET[:, : t + 1]), whole[:, t], rtol=0, atol=1e-12)
        memory.select(rows := torch.tensor([2, 0, 0, 1]))
        last = torch.tensor([[3], [4], [5], [6]])
        again = model(SOURCE[rows], torch.cat([TARGET[rows], last], 1), MASK[rows])[:, -1]
        torch.testing.assert_close(reader.next_logits(last, memory), again, rtol=0, atol=1e-12)


def test_the_encoder_runs_once_and_the_keys_of_the_source_are_made_once(monkeypatch):
    model, count = seq2seq(), []
    for module in (model.encoder, *(block.cross_attention for block in model.decoder.layers)):
        original = module.project if hasattr(module, "project") else module.forward
        name = "project" if hasattr(module, "project") else "forward"
        monkeypatch.setattr(module, name, lambda *a, original=original, **k: (count.append(1), original(*a, **k))[1])
    generate(model.reading(SOURCE, MASK), [[1]] * B, 6, temperature=0)
    assert len(count) == 1 + 2


@settings(max_examples=8, derandomize=True, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 9))
def test_padding_of_the_source_changes_nothing(own, more, seed):
    model = seq2seq("rotary" if seed % 2 else "relative", seed=seed)
    ids = SOURCE[:1, :own]
    padded = torch.cat([ids, torch.full((1, more), 5)], 1)
    mask = torch.arange(own + more)[None] < own
    with torch.inference_mode():
        torch.testing.assert_close(model(padded, TARGET[:1], mask), model(ids, TARGET[:1]), rtol=0, atol=1e-12)


def test_F23_no_token_of_the_target_sees_a_later_one_and_every_one_sees_the_whole_source():
    model = seq2seq()
    other, source = TARGET.clone(), SOURCE.clone()
    other[:, 3] = (TARGET[:, 3] + 1) % V
    source[:, -1] = (SOURCE[:, -1] + 1) % V
    with torch.inference_mode():
        before, after, elsewhere = model(SOURCE, TARGET), model(SOURCE, other), model(source, TARGET)
    assert torch.equal(before[:, :3], after[:, :3]) and (before[:, 3:] - after[:, 3:]).abs().amax() > 1e-3
    assert ((before - elsewhere).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_F23_a_wide_beam_finds_the_best_target_of_all(penalty):
    model, most = seq2seq(vocab_size=4), 3
    source, end = torch.tensor([[3, 1, 2]]), 2
    texts = [w for n in range(1, most + 1) for w in itertools.product(range(4), repeat=n)]
    texts = [w for w in texts if end not in w[:-1] and (w[-1] == end or len(w) == most)]
    with torch.inference_mode():
        logs = [model(source, torch.tensor([[1, *w]])).log_softmax(-1)[0] for w in texts]
    scores = [sum(float(row[i, t]) for i, t in enumerate(w)) / len(w) ** penalty for w, row in zip(texts, logs)]
    best = max(range(len(texts)), key=scores.__getitem__)
    found = beam_search(model.reading(source), [1], 64, most, penalty, stop={end})[0]
    assert tuple(found.ids) == texts[best] and found.score == pytest.approx(scores[best], abs=1e-12)


# ------------------------------------------------------------------------------- the objective


def loss_by_hand(model, smoothing):
    """Token by token: teacher forcing, and a target with (1 − ε) + ε/V at the true token and ε/V at all others."""
    lengths, total, count = (5, 3, 2), 0.0, 0
    for b, n in enumerate(lengths):
        for t in range(n - 1):
            log_p = model(SOURCE[b : b + 1], TARGET[b : b + 1, : t + 1]).log_softmax(-1)[0, -1]
            q = torch.full((V,), smoothing / V, dtype=torch.float64)
            q[TARGET[b, t + 1]] += 1 - smoothing
            total, count = total - (q * log_p).sum(), count + 1
    return total / count


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_F08_F23_the_loss_counts_every_token_of_the_targets_once(smoothing):
    model = seq2seq()
    mask = torch.arange(T) < torch.tensor([[5], [3], [2]])
    batch = Batch(TARGET, attention_mask=mask, source_ids=SOURCE)
    objective = SequenceToSequence(label_smoothing=smoothing)
    step = objective.step(model, batch)
    assert step.tokens == 10
    torch.testing.assert_close(step.loss, loss_by_hand(model, smoothing), rtol=0, atol=1e-12)
    plain = objective.measure(model, [batch])["loss"]
    assert plain == pytest.approx(float(loss_by_hand(model, 0.0).detach()), abs=1e-12)


# ------------------------------------------------------------------------------- how it starts, and what is refused


def test_a_new_model_starts_near_chance_and_its_scales_name_parameters():
    for norm in ("pre", "post"):
        config = Seq2SeqConfig(vocab_size=500, norm=norm)
        model = Seq2Seq(config)
        initialise(model, generator=torch.Generator().manual_seed(0))
        ids = torch.randint(0, 500, (4, 20), generator=torch.Generator().manual_seed(1))
        source = torch.randint(0, 500, (4, 9), generator=torch.Generator().manual_seed(2))
        loss = SequenceToSequence().measure(model, [Batch(ids, source_ids=source)])["loss"]
        assert 5.5 < loss < 7.5
        names = [name for name, _ in model.named_parameters()]
        scales = {k: v for k, v in learning_rate_scales(config).items() if "positions" not in k}
        assert all(any(name.startswith(prefix) for name in names) for prefix in scales)
        parameter_groups(model, 0.01, layer_decay=0.9)
        assert model.depth_of("decoder.layers.1.attention.output.weight") == 4 == model.depth_of("copy.gate.bias")
        assert model.depth_of("encoder.tokens.weight") == 0 and model.depth_of("encoder.stack.layers.1.x") == 2


def test_what_does_not_work_is_said_in_one_sentence():
    model = seq2seq("learned")
    with pytest.raises(InputError, match="a text of 12 tokens does not fit: this model takes 11"):
        model(torch.ones(1, 12, dtype=torch.int64), TARGET[:1])
    with pytest.raises(InputError, match="targets of different lengths"):
        generate(model.reading(SOURCE), [[1], [1, 2], [1]])
    with pytest.raises(InputError, match="2 targets for 3 sources: use the cache"):
        model.reading(SOURCE).next_logits(TARGET[:2])
    with pytest.raises(InputError, match="width 10 is not divisible by 4 heads"):
        Seq2SeqConfig(width=10)
    with pytest.raises(InputError, match="norm 'middle' is not known"):
        Seq2SeqConfig(norm="middle")

"""The induction experiment: its sequences, its scores against loops, its ablation, and what its predictions would reject.  F36."""

import numpy as np
import pytest
import torch

from minilm.experiments.emergence import induction
from minilm.experiments.emergence.induction import (
    ABLATED,
    INDUCTION_SCORE,
    PERIODS,
    PREDICTIONS,
    PREVIOUS,
    REPEATED,
    SYMBOLS,
    T,
    ablated,
    can_be_known,
    fit,
    head_scores,
    losses,
    measured,
    new_model,
    sequences,
)
from minilm.layers.pruning import with_zeroed_heads

ROWS = sequences(7, (3,))


def test_F36_rows_repeat_after_their_period_and_a_symbol_stands_once_in_it():
    rows = sequences(500, (0,))
    for ids, p in zip(rows.ids.tolist(), rows.periods.tolist(), strict=True):
        assert len(set(ids[:p])) == p and all(ids[t] == ids[t - p] for t in range(p, T))
    assert set(rows.periods.tolist()) == set(range(PERIODS[0], PERIODS[1] + 1))
    assert torch.equal(rows.ids, sequences(500, (0,)).ids) and not torch.equal(rows.ids, sequences(500, (1,)).ids)


def test_F36_symbols_are_drawn_alike():
    first = sequences(5_000, (0,)).ids[:, :16].flatten().bincount(minlength=SYMBOLS) / (5_000 * 16)
    every = sequences(5_000, (0,), repeats=False).ids.flatten().bincount(minlength=SYMBOLS) / (5_000 * T)
    for share in (first, every):  # five standard deviations of a share of 80,000
        assert (share - 1 / SYMBOLS).abs().max() < 5 * (1 / SYMBOLS / 80_000) ** 0.5
    alone = sequences(50, (2,), repeats=False)
    assert any(len(set(ids[:16])) < 16 for ids in alone.ids.tolist())


def test_F36_what_can_be_known_is_what_a_look_up_finds():
    known = can_be_known(ROWS)
    for b, ids in enumerate(ROWS.ids.tolist()):
        for t in range(T - 1):
            earlier = [s for s in range(t) if ids[s] == ids[t]]
            assert bool(known[b, t]) == bool(earlier)
            if earlier:
                assert ids[earlier[-1] + 1] == ids[t + 1]


def test_F36_scores_are_the_means_that_loops_give():
    rng = np.random.default_rng(0)
    weights = [torch.from_numpy(rng.dirichlet(np.ones(T), size=(7, 3, T))) for _ in range(2)]
    found = head_scores(weights, ROWS)
    for layer in range(2):
        for head in range(3):
            w = weights[layer][:, head].numpy()
            before = np.mean([w[b, t, t - 1] for b in range(7) for t in range(1, T)])
            p = ROWS.periods.tolist()
            after = np.mean([w[b, t, t - p[b] + 1] for b in range(7) for t in range(T) if t >= p[b]])
            assert found[PREVIOUS][layer][head] == pytest.approx(before, rel=1e-12)
            assert found[INDUCTION_SCORE][layer][head] == pytest.approx(after, rel=1e-12)


def test_F36_the_ablation_takes_the_heads_that_look_one_back():
    model = new_model(2, seed=1)
    with torch.no_grad():  # head 2 of the first layer looks one place back, by the positions alone
        places = torch.zeros(T, 64)
        places[torch.arange(T), torch.arange(T)] = 30.0
        model.encoder.positions.weight.copy_(places)
        attention = model.encoder.stack.layers[0].attention
        attention.to_qkv.weight[32:48] = 0
        attention.to_qkv.weight[96:112] = 0
        for t in range(16):  # place t + 1 asks for place t; sixteen features are enough for sixteen places
            attention.to_qkv.weight[32 + t, t + 1] = 10.0
            attention.to_qkv.weight[96 + t, t] = 10.0
        attention.to_qkv.bias.zero_()
    model.eval()
    scores = measured(model, ROWS)[PREVIOUS][0]
    assert int(np.argmax(scores)) == 2 and scores[2] > 0.3
    found = ablated(model, ROWS)
    assert found["previous-token heads"] == [2]
    known = can_be_known(ROWS)
    with torch.no_grad():
        zeroed = losses(with_zeroed_heads(model, [(0, 2)]), ROWS)[known].mean()
    assert found[ABLATED] == pytest.approx(float(zeroed)) and found["loss without one head"][2] == found[ABLATED]


def test_F36_the_same_seed_gives_the_same_record(monkeypatch):
    monkeypatch.setattr(induction, "HELD_OUT", 4)
    monkeypatch.setattr(induction, "BATCH", 4)
    first, again, other = (fit("two layers", seed, 0.002) for seed in (0, 0, 1))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert first[REPEATED] != other[REPEATED] and "film" in first["curve"][0] and "film" not in other["curve"][0]
    assert [point["step"] for point in first["curve"]] == [0, 1, 2, 3]


def record(arm: str, loss: float, ablated: float = 5.0, others: float = 0.3, curve=(3.9, 3.8, 0.1)) -> dict:
    more = {ABLATED: ablated, "loss without the other heads of that layer": others} if arm != "one layer" else {}
    return {"arm": arm, REPEATED: loss, "curve": [{REPEATED: value} for value in curve]} | more


def records(**changes) -> list[dict]:
    two = record("two layers", **({"loss": 0.1} | changes.get("two", {})))
    one = record("one layer", **({"loss": 3.0} | changes.get("one", {})))
    none = record("two layers, nothing repeats", **({"loss": 3.9} | changes.get("none", {})))
    good = [record("two layers", 0.05), record("one layer", 3.2), record("two layers, nothing repeats", 3.9)]
    return [*good, two, one, none]


FAILURES = [
    {"two": {"loss": 0.3}},
    {"one": {"loss": 0.9}},
    {"two": {"curve": (3.9, 3.0, 2.1, 1.2, 0.3, 0.1)}},
    {"two": {"ablated": 2.0}},
    {"two": {"others": 5.5}},
    {"none": {"loss": 2.5}},
]


def test_F36_the_predictions_come_true_where_they_should():
    assert all(prediction.judge(records()).held for prediction in PREDICTIONS)


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_F36_each_prediction_fails_by_a_single_seed(number):
    held = [prediction.judge(records(**FAILURES[number])).held for prediction in PREDICTIONS]
    assert not held[number]
    assert induction.INDUCTION.predictions[number].judge(records(**FAILURES[number])).figures

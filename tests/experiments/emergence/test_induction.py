"""The induction experiment: its sequences, its scores against loops, its ablation, and what its predictions would reject.  F36."""

import numpy as np
import pytest
import torch
from judged import true_where_they_should

from minilm.experiments.emergence import induction
from minilm.experiments.emergence.induction import (
    BEST_INDUCTION,
    BEST_PREVIOUS,
    CUT,
    CUT_ELSEWHERE,
    GIVEN,
    INDUCTION_SCORE,
    NOTHING,
    ONE,
    ONE_ALONE,
    ONE_GIVEN,
    PERIODS,
    PREVIOUS,
    REPEATED,
    SYMBOLS,
    TWO,
    T,
    can_be_known,
    fit,
    head_scores,
    loss_without_links,
    losses,
    measured,
    new_model,
    sequences,
)
from minilm.experiments.emergence.induction_judged import PREDICTIONS
from minilm.models.gpt import GPT
from minilm.models.initialisation import initialise

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


@torch.no_grad()
def test_F36_one_reading_gives_the_losses_of_the_model_that_trains_and_the_scores_of_its_weights():
    model = new_model(2, seed=4).eval()
    found, known = measured(model, ROWS), can_be_known(ROWS)
    each = -model(ROWS.ids[:, :-1]).log_softmax(-1).gather(-1, ROWS.ids[:, 1:, None])[..., 0]  # attention fused
    torch.testing.assert_close(torch.tensor(found["by place"]), each.mean(dim=0), atol=1e-5, rtol=0)
    assert found[REPEATED] == pytest.approx(float(each[known].mean()), abs=1e-5) != float(each.mean())
    scores = head_scores(model.encoder(ROWS.ids, need_weights=True).attentions, ROWS)
    assert {name: found[name] for name in scores} == scores


@torch.no_grad()
def test_F36_cut_links_are_links_with_a_bias_of_minus_infinity():
    model = new_model(1, seed=1).eval()
    for distance in (1, 5):
        found = loss_without_links(model, ROWS, distance)
        table = model.encoder.stack.relative_bias

        def without(module, inputs, bias, distance=distance):
            t = torch.arange(bias.size(-1))
            return bias.masked_fill((t[:, None] - t == distance)[None, None], -torch.inf)

        handle = table.register_forward_hook(
            without
        )  # with a single layer, the bias of all layers is that of the first
        expected = losses(model, ROWS)[can_be_known(ROWS)].mean()
        handle.remove()
        whole = losses(model, ROWS)[can_be_known(ROWS)].mean()
        assert found == pytest.approx(float(expected), rel=1e-6) and abs(found - float(whole)) > 1e-4


def test_F36_heads_that_are_given_look_at_the_places_before():
    scores = [measured(new_model(2, 0, *how), ROWS)[PREVIOUS][0] for how in ((0, False), (4, True))]
    assert max(scores[0]) < 0.12 and scores[1][0] > 0.5 and max(scores[1][1:]) < 0.3


def test_F36_the_same_seed_gives_the_same_record(monkeypatch):
    monkeypatch.setattr(induction, "HELD_OUT", 4)
    monkeypatch.setattr(induction, "BATCH", 4)
    first, again, other = (fit(TWO, seed, 0.002) for seed in (0, 0, 1))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert first[REPEATED] != other[REPEATED] and "film" in first["curve"][0] and "film" not in other["curve"][0]
    assert [point["step"] for point in first["curve"]] == [0, 1, 2]


def record(arm: str, loss: float, curve=(3.9, 3.8, 0.1), **more) -> dict:
    figures = {BEST_INDUCTION: 0.7, BEST_PREVIOUS: 0.6, CUT: 5.0, CUT_ELSEWHERE: 0.2} if arm != ONE else {}
    points = [{"step": 10 * number, REPEATED: value} for number, value in enumerate(curve)]
    return {"arm": arm, REPEATED: loss, "curve": points} | figures | more


def records(arm: str = "", **changes) -> list[dict]:
    """Two seeds of every arm; the second of one arm with these changes."""
    good = {TWO: 0.1, ONE: 3.0, NOTHING: 3.9, GIVEN: 0.1, ONE_GIVEN: 0.1, ONE_ALONE: 0.1}
    curves = dict.fromkeys((GIVEN, ONE_GIVEN, ONE_ALONE), (3.9, 0.5, 0.1))
    first = [record(name, loss, curves.get(name, (3.9, 3.8, 0.1))) for name, loss in good.items()]
    curves |= {arm: changes.pop("curve")} if "curve" in changes else {}
    second = [
        record(name, loss, curves.get(name, (3.9, 3.8, 0.1))) | (changes if name == arm else {})
        for name, loss in good.items()
    ]
    return first + second


FAILURES = [
    (TWO, {REPEATED: 0.3}),
    (ONE, {REPEATED: 0.9}),
    (TWO, {"curve": (3.9, 3.0, 2.1, 1.2, 0.3, 0.1)}),
    (TWO, {BEST_INDUCTION: 0.4}),
    (TWO, {BEST_PREVIOUS: 0.4}),
    (TWO, {CUT: 2.0}),
    (TWO, {CUT_ELSEWHERE: 1.0}),
    (NOTHING, {REPEATED: 2.5}),
    (GIVEN, {"curve": (3.9, 3.5, 0.1)}),
    (ONE_GIVEN, {"curve": (3.9, 3.5, 0.1)}),
    (ONE_ALONE, {"curve": (3.9, 3.5, 0.1)}),
]


def test_F36_the_predictions_come_true_where_they_should_and_each_fails_by_a_single_seed():
    true_where_they_should(PREDICTIONS, records, FAILURES)


def test_F36_four_given_links_are_the_start_of_the_library_and_one_is_a_part_of_it():
    given, one, alone, none = (new_model(2, 0, *how) for how in ((4, True), (1, True), (1, False), (0, False)))
    start = GPT(given.config)
    initialise(start, "neighbours", torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(given.parameters(), start.parameters(), strict=True))
    tables = [model.encoder.stack.relative_bias.table for model in (given, one, alone, none)]
    changed = [(table != tables[-1]).any(dim=0).tolist() for table in tables]
    assert changed == [[True] * 4, [True, False, False, False], [True, False, False, False], [False] * 4]
    outer = [model.encoder.stack.layers[0].feed_forward.outer.weight for model in (one, alone, none)]
    assert torch.allclose(2 * outer[0], outer[1]) and torch.equal(outer[1], outer[2])  # 1/√(2 · 2 layers)


def test_F36_what_never_happens_is_called_so():
    found = PREDICTIONS[-3].judge(records(GIVEN, curve=(3.9, 3.8, 3.8)))
    assert not found.held and found.figures == "1.0 nats after so many steps: 10, never; by itself: 20, 20"

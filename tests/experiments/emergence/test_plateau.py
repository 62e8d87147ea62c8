"""The plateau: its text, the loss without context, its scores against loops, its ablation, and its judges.  F25, F36."""

import numpy as np
import pytest
import torch
from judged import true_where_they_should

from minilm.examples.labels import IGNORED
from minilm.experiments.emergence import plateau
from minilm.experiments.emergence.plateau import (
    ALONE,
    ELSEWHERE,
    FORBIDDEN,
    GIVEN,
    LEFT,
    LOSS,
    MASK,
    NEXT,
    OTHER,
    PREVIOUS,
    SPECIAL,
    TABLE,
    ZERO,
    T,
    V,
    beginning,
    encoded,
    film_reviews,
    fit,
    leaves_at,
    loss_alone,
    loss_at,
    masked,
    neighbour_scores,
    new_model,
    rows_at,
)
from minilm.experiments.emergence.plateau_judged import PREDICTIONS

REVIEWS = [["A Dull film."], ["But I", "like it!"], ["never read"]]


def test_F36_the_text_is_the_beginning_of_the_reviews_in_small_letters():
    assert beginning(REVIEWS, 22) == "a dull film. but i lik"
    assert encoded("ab?a", "ba").tolist() == [len(SPECIAL) + 1, len(SPECIAL), OTHER, len(SPECIAL) + 1]


def test_F36_what_is_measured_on_was_not_learned_from():
    text = film_reviews(3_000, 10 * T)
    assert len(text.learned) == 3_000 and len(text.held_out) == 10 * T
    both = beginning(plateau.documents("imdb"), 3_000 + 10 * T)
    frequent = max(set(both[:3_000]), key=both[:3_000].count)
    assert frequent == " " and (text.held_out == len(SPECIAL)).tolist() == [c == " " for c in both[3_000:]]


def test_F36_rows_stand_in_the_text_and_15_per_cent_are_masked():
    text = torch.arange(500) % (V - len(SPECIAL)) + len(SPECIAL)
    rows, labels = rows_at(text, (0, 2, 5))
    kept = labels == IGNORED
    step = rows.diff(dim=1)[kept[:, 1:] & kept[:, :-1]]
    assert set(step.tolist()) <= {1, 1 - (V - len(SPECIAL))} and (rows[~kept] == MASK).double().mean() > 0.6
    assert 0.11 < (~kept).double().mean() < 0.19
    again, other = rows_at(text, (0, 2, 5)), rows_at(text, (0, 2, 6))
    assert torch.equal(rows, again[0]) and torch.equal(labels, again[1]) and not torch.equal(rows, other[0])


def test_F36_the_loss_without_context_is_what_bayes_rule_gives():
    learned = film_reviews(3_000, 10 * T).learned
    ids, labels = masked(film_reviews(3_000, 10 * T).held_out.view(-1, T), (3,))
    counts = np.bincount(learned.numpy(), minlength=V) + 1.0
    p = counts[len(SPECIAL) :] / counts[len(SPECIAL) :].sum()
    total, count, kinds = 0.0, 0, set()
    for seen, label in zip(ids.flatten().tolist(), labels.flatten().tolist(), strict=True):
        if label == IGNORED:
            continue
        # P(seen | c): 0.8 for [MASK], 0.1 for c itself, and 0.1/n for each of the n characters that may replace it
        n, likely = len(p), np.empty(len(p))
        for c in range(n):
            likely[c] = 0.8 if seen == MASK else 0.1 * (c == seen - len(SPECIAL)) + 0.1 / n
        P = p * likely / (p * likely).sum()
        total, count = total - np.log(P[label - len(SPECIAL)]), count + 1
        kinds.add("mask" if seen == MASK else "kept" if seen == label else "exchanged")
    assert kinds == {"mask", "kept", "exchanged"}
    assert loss_alone(learned, (ids, labels)) == pytest.approx(total / count, rel=1e-9)


def test_F36_scores_are_the_means_that_loops_give():
    rng = np.random.default_rng(0)
    weights = [torch.from_numpy(rng.dirichlet(np.ones(T), size=(2, 3, T))) for _ in range(2)]
    each = {PREVIOUS: [], NEXT: []}
    for w in weights:
        for head in range(3):
            each[PREVIOUS].append(np.mean([w[b, head, t, t - 1] for b in range(2) for t in range(1, T)]))
            each[NEXT].append(np.mean([w[b, head, t, t + 1] for b in range(2) for t in range(T - 1)]))
    found = neighbour_scores(weights)
    assert found == {name: pytest.approx(max(values), rel=1e-12) for name, values in each.items()}


@torch.no_grad()
def test_F36_forbidden_places_get_no_attention_in_any_layer():
    ids = torch.randint(len(SPECIAL), V, (3, T), generator=torch.Generator().manual_seed(0))
    t = torch.arange(T)
    distance = (t[:, None] - t).abs()
    for arm, none in ((FORBIDDEN, (1, 2)), (ELSEWHERE, (5, 6)), (ZERO, ())):
        for w in new_model(arm, seed=1).eval().encoder(ids, need_weights=True).attentions:
            for d in range(8):
                assert bool((w[:, :, distance == d] == 0).all()) == (d in none)
            assert torch.allclose(w.sum(dim=-1), torch.ones(3, 4, T), atol=1e-5)


@torch.no_grad()
def test_F36_the_loss_is_that_of_all_logits():
    model, rows = new_model(ZERO, seed=1), masked(film_reviews(3_000, 10 * T).held_out.view(-1, T), (4,))
    logits = model(rows[0]).mlm_logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[1].flatten(), ignore_index=IGNORED)
    assert float(loss_at(model, rows).loss) == pytest.approx(float(expected), rel=1e-5)


@torch.no_grad()
def test_F36_heads_that_are_given_look_next_door_and_no_others_do():
    rows = masked(film_reviews(3_000, 10 * T).held_out.view(-1, T), (4,))
    for arm, low, high in ((GIVEN, 0.4, 0.8), (ZERO, 0.0, 0.06), (TABLE, 0.0, 0.06)):
        scores = neighbour_scores(new_model(arm, 0).eval().encoder(rows[0], need_weights=True).attentions)
        assert all(low < score < high for score in scores.values())


def test_F36_the_plateau_is_left_where_the_loss_first_lies_below_it():
    curve = [{"step": step, LOSS: loss} for step, loss in ((0, 4.0), (10, 2.75), (20, 2.65), (30, 2.59), (40, 2.7))]
    assert leaves_at(curve, 2.7) == 30 and leaves_at(curve, 2.5) == np.inf


def test_F36_the_same_seed_gives_the_same_record(monkeypatch):
    monkeypatch.setattr(plateau, "film_reviews", lambda: film_reviews(3_000, 10 * T))
    monkeypatch.setattr(plateau, "BATCH", 3)
    first, again, other = (fit(TABLE, seed, 0.005) for seed in (0, 0, 1))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert first[LOSS] != other[LOSS] and [point["step"] for point in first["curve"]] == [0, 1, 2, 3]
    assert LEFT not in first and 2 < first[ALONE] < 3.2


def record(arm: str, **changes) -> dict:
    found = {
        TABLE: (2.7, np.inf),
        ZERO: (2.3, 300.0),
        GIVEN: (1.8, 40.0),
        FORBIDDEN: (2.71, np.inf),
        ELSEWHERE: (2.3, 400.0),
    }
    loss, left = found[arm]
    curve = [{"step": 20.0 * k, PREVIOUS: 0.01 * k, NEXT: 0.005 * k} for k in range(31)]
    out = {"arm": arm, LOSS: loss, ALONE: 2.74, LEFT: left, "curve": curve} | changes
    return {name: value for name, value in out.items() if value != np.inf}


def records(arm: str = "", **changes) -> list[dict]:
    """Two seeds of every arm; the second of one arm with these changes."""
    arms = (TABLE, ZERO, GIVEN, FORBIDDEN, ELSEWHERE)
    return [record(name) for name in arms] + [record(name, **(changes if name == arm else {})) for name in arms]


FAILURES = [
    (ZERO, {LOSS: 2.5}),
    (ZERO, {"curve": [{"step": 300.0, PREVIOUS: 0.04, NEXT: 0.09}]}),
    (GIVEN, {LEFT: 80.0}),
    (GIVEN, {LOSS: 2.2}),
    (FORBIDDEN, {LEFT: 580.0}),
    (ELSEWHERE, {LEFT: np.inf}),
    (TABLE, {LEFT: 280.0}),
]


def test_F36_the_predictions_come_true_where_they_should_and_each_fails_by_a_single_seed():
    true_where_they_should(PREDICTIONS, records, FAILURES)


def test_F36_a_plateau_that_is_left_early_or_never_is_none():
    for left in (140.0, np.inf):
        assert not PREDICTIONS[0].judge(records(ZERO, **{LEFT: left})).held
    assert "never" in PREDICTIONS[4].judge(records()).figures

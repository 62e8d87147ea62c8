"""Streams with a planted surge: what is drawn, what is watched, and how an alarm is judged."""

from functools import partial

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.experiments.applications.streams import (
    Plan,
    Watch,
    cusum_rings,
    draw_streams,
    false_alarms,
    judged,
    threshold_for,
    window_rings,
)
from minilm.formulas.cusum import evidence

PLAN = Plan(before=90, during=60, calm=0.25, surge=0.9, topic=1)
RNG = np.random.default_rng(0)
TOPICS, NEGATIVE = RNG.integers(0, 3, 3_000), RNG.random(3_000) < 0.5


def test_no_text_occurs_twice_and_only_the_topic_of_the_surge_changes():
    streams = draw_streams(NEGATIVE, TOPICS, PLAN, 200, seed=3)
    assert streams.shape == (200, 150) and all(len(set(stream)) == 150 for stream in streams)
    bad, topic = NEGATIVE[streams], TOPICS[streams]
    after = np.arange(150) >= PLAN.before
    for k in range(3):
        assert bad[:, ~after][topic[:, ~after] == k].mean() == pytest.approx(0.25, abs=0.02)
        assert bad[:, after][topic[:, after] == k].mean() == pytest.approx(0.9 if k == 1 else 0.25, abs=0.03)
    assert (draw_streams(NEGATIVE, TOPICS, PLAN, 200, seed=3) == streams).all()


def test_too_few_texts_are_refused():
    with pytest.raises(InputError, match="a stream of 150 texts needs .* of one topic and mood, and there are"):
        draw_streams(NEGATIVE[:60], TOPICS[:60], PLAN, 1, seed=0)


def test_a_text_speaks_for_its_own_topic_alone():
    watch = Watch(np.array([[0, 2, 0]]), np.array([[True, False, False]]), 3)
    rates = np.array([[0.2, 0.6], [0.3, 0.7], [0.1, 0.8]])
    z = watch.z(rates)
    assert z.shape == (1, 3, 3)
    assert z[0, 0] == pytest.approx([evidence(0.2, 0.6)[1], 0, evidence(0.2, 0.6)[0]])
    assert z[0, 1] == pytest.approx([0, 0, 0]) and z[0, 2] == pytest.approx([0, evidence(0.1, 0.8)[0], 0])


def test_the_moving_share_counts_the_last_texts_of_its_topic():
    topics, negative = RNG.integers(0, 2, (2, 70)), RNG.random((2, 70)) < 0.4
    share = Watch(topics, negative, 2).share(window=7)
    for r, k, t in np.ndindex(2, 2, 70):
        mine = [negative[r, s] for s in range(t + 1) if topics[r, s] == k]
        assert share[r, k, t] == pytest.approx(np.mean(mine[-7:]) if len(mine) >= 7 else 0)


def test_a_share_rings_once_when_it_rises():
    assert window_rings(np.array([0.1, 0.6, 0.7, 0.2, 0.9]), 0.5).tolist() == [False, True, False, False, True]


def test_delay_misses_and_false_alarms_are_counted_by_hand():
    z = np.full((3, 2, 10), -1.0)
    plan = Plan(before=6, during=4, calm=0.2, surge=0.8, topic=0)
    z[0, 0, 7] = z[1, 0, 6] = z[1, 1, 2] = z[2, 1, 8] = (
        5.0  # noticed after 2 and 1 texts; a false alarm; the wrong topic
    )
    alarm = judged(z, cusum_rings, 2.0, plan)
    assert alarm == (2.0, pytest.approx(1 / 3), pytest.approx(1000 / 18))


def test_the_threshold_is_the_lowest_that_rings_seldom_enough():
    z = np.where(RNG.random((20, 2, 300)) < 0.3, 1.0, -0.5)
    h = threshold_for(partial(cusum_rings, z), 2.0, 0.0, 30.0)
    assert false_alarms(cusum_rings(z, h)) <= 2.0 < false_alarms(cusum_rings(z, h - 0.51))

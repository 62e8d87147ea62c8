"""Streams of film reviews with a planted surge, and how soon an alarm notices it.

The surge is planned and not found: until it begins, a share `calm` of all texts is negative, in every topic; then, in one topic, the
share is `surge`. No text occurs twice in a stream; different streams draw from the same texts.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilm.errors import InputError
from minilm.formulas.cusum import alarms, evidence

WINDOW = 50  # texts of a topic that the moving share looks at


class Plan(NamedTuple):
    """How streams are drawn: texts before the surge and in it, the shares of negative texts, and the topic of the surge."""

    before: int
    during: int
    calm: float
    surge: float
    topic: int


def draw_streams(negative: np.ndarray, topics: np.ndarray, plan: Plan, count: int, seed: int) -> np.ndarray:
    """The numbers of the texts of `count` streams [R, before + during], from what is true of each text.

    Topics come as often as in the texts. Raises InputError if there are too few texts for a stream.
    """
    rng = np.random.default_rng(seed)
    kinds = np.unique(topics)
    share = np.array([(topics == k).mean() for k in kinds])
    boxes = {(k, n): np.flatnonzero((topics == k) & (negative == n)) for k in kinds for n in (False, True)}
    streams = np.empty((count, plan.before + plan.during), dtype=np.int64)
    for stream in streams:
        topic = rng.choice(kinds, len(stream), p=share)
        surging = (np.arange(len(stream)) >= plan.before) & (topic == plan.topic)
        bad = rng.random(len(stream)) < np.where(surging, plan.surge, plan.calm)
        for (k, n), box in boxes.items():
            places = np.flatnonzero((topic == k) & (bad == n))
            if len(places) > len(box):
                raise InputError(
                    f"a stream of {len(stream):,} texts needs {len(places)} of one topic and mood, and there are {len(box)}: "
                    "make --before or --during smaller."
                )
            stream[places] = rng.permutation(box)[: len(places)]
    return streams


@dataclass(frozen=True)
class Watch:
    """What is watched: for each text of a stream, the topic that it is taken for and whether it is taken for negative."""

    topics: np.ndarray  # [R, T]
    negative: np.ndarray  # [R, T]
    count: int  # topics

    def z(self, rates: np.ndarray) -> np.ndarray:
        """What each text says for a surge in each topic [R, K, T]: nothing, if it is taken for another topic.

        `rates` [K, 2]: the share of texts of a topic that are taken for negative, while all is calm and in a surge.
        """
        own = self.topics[:, None] == np.arange(self.count)[:, None]  # [R, K, T]
        table = np.stack([evidence(*pair) for pair in rates])  # [K, 2]
        says = np.where(self.negative[:, None], table[None, :, 1, None], table[None, :, 0, None])  # [R, K, T]
        return np.where(own, says, 0.0)

    def share(self, window: int = WINDOW) -> np.ndarray:
        """The share of negative texts among the last `window` of each topic [R, K, T]; 0 until there are so many."""
        out = np.zeros((len(self.topics), self.count, self.topics.shape[1]))
        for r, (topics, negative) in enumerate(zip(self.topics, self.negative, strict=True)):
            for k in range(self.count):
                places = np.flatnonzero(topics == k)
                total = np.concatenate([[0], np.cumsum(negative[places])])
                recent = np.zeros(len(places))
                recent[window - 1 :] = (total[window:] - total[:-window]) / window
                filled = np.concatenate([[0.0], recent])
                out[r, k] = filled[np.searchsorted(places, np.arange(len(topics)), side="right")]
        return out


class Alarm(NamedTuple):
    """How well an alarm does: texts from the beginning of the surge to the alarm (the median; a surge that is missed counts as
    longer than all others), the share of surges missed, and false alarms per 1,000 calm texts."""

    delay: float
    missed: float
    false_alarms: float


def cusum_rings(z: np.ndarray, h: float) -> np.ndarray:
    """Where an alarm of a topic rings [R, K, T]."""
    return alarms(z, h)


def window_rings(share: np.ndarray, h: float) -> np.ndarray:
    """Where the moving share of a topic rises above h [R, K, T]."""
    above = share > h
    return above & ~np.concatenate([np.zeros_like(above[..., :1]), above[..., :-1]], axis=-1)


def false_alarms(rings: np.ndarray) -> float:
    """Alarms of any topic per 1,000 texts of streams without a surge."""
    return 1000 * float(rings.any(axis=1).sum()) / (rings.shape[0] * rings.shape[2])


def threshold_for(rings: Callable[[float], np.ndarray], most: float, low: float, high: float) -> float:
    """The lowest h between `low` and `high`, to within a thousandth, with at most so many false alarms per 1,000."""
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if false_alarms(rings(middle)) <= most else (middle, high)
    return high


def judged(statistic: np.ndarray, rings: Callable[[np.ndarray, float], np.ndarray], h: float, plan: Plan) -> Alarm:
    """Delay, misses and false alarms over streams [R, K, T] with a surge after `plan.before` texts.

    Only the alarm of the topic that surges counts as noticing it. What has added up before the surge stays, and after an alarm
    everything begins afresh, as it would in use.
    """
    ringing = rings(statistic, h)
    during = ringing[:, plan.topic, plan.before :]
    first = np.where(during.any(axis=1), during.argmax(axis=1) + 1, np.inf)
    return Alarm(float(np.median(first)), float(np.isinf(first).mean()), false_alarms(ringing[..., : plan.before]))

"""Opinion monitoring: `minilm monitor` watches the topics and the mood of a stream of texts, and measures its alarm.

D0, D2, D3 and D4 §6.2 describe it: tell topic and mood (positive, neutral, negative) of every text, follow both over time, and
give the alarm when negative texts surge. The alarm is CUSUM (`formulas/cusum.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from minilm.errors import InputError, check_least, check_most
from minilm.experiments.applications.mood import (
    MOODS,
    TOPICS,
    CountingReader,
    FineTunedReader,
    Reader,
    hidden,
    three_way,
    topic_examples,
    topic_of,
)
from minilm.experiments.applications.streams import (
    Plan,
    Watch,
    cusum_rings,
    draw_streams,
    judged,
    threshold_for,
    window_rings,
)
from minilm.experiments.applications.vectors import TFIDF, median_milliseconds, title_of
from minilm.experiments.english import unseen
from minilm.experiments.table import details_table
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Notes
from minilm.files.tensors import read_json
from minilm.formulas.cusum import cusum
from minilm.text import corpus
from minilm.text.files import Example
from minilm.training.state import plain
from minilm.viz.monitor import trend

TRUTH = "the labels themselves"
READING = {"mood": 3, "mood, decided": 3, "topic": 3, "topic, words hidden": 3, "ms per text": 1}
ALARM = {"delay": 0, "missed": 3, "false alarms": 2}
DEVELOPMENT, TEST = 3_000, 4_000  # sentences
MOST_H = 30.0  # a threshold of CUSUM that no stream reaches while all is calm


@dataclass(frozen=True)
class MonitorOptions:
    """Watch a stream of sentences about films: what each is about, and whether it is negative, neutral or positive. Negative
    sentences on one topic surge, as planned, and the alarm is to ring soon, and seldom without a reason."""

    models: tuple[str, ...] = (TFIDF, "runs/quickstart/pretrained")
    """What reads the texts: tf-idf (logistic regression on counts of words), the folder of a model, or a published model."""
    labels: int = 500
    """Labelled sentences to learn the mood from; the topics are learned from as many."""
    topic: str = "story"
    """The topic of the surge."""
    topics: Literal["model", "words"] = "model"
    """Who tells the topics that are watched: the models, or the list of words alone (then only the mood is guessed)."""
    calm: float = 0.3
    """The share of negative sentences before the surge, in all topics."""
    surge: float = 0.9
    """Their share in the topic of the surge."""
    before: int = 600
    """Sentences before the surge."""
    during: int = 500
    """Sentences of all topics while it lasts."""
    streams: int = 200
    """How many streams are drawn, both to choose the threshold (without a surge) and to measure."""
    false_alarms: float = 1.0
    """How many alarms per 1,000 calm sentences are allowed where the threshold is chosen."""
    neutral: float = 0.2
    """The share of the development sentences that count as neutral: those whose mood is the least certain."""
    seeds: int = 3
    out: Path = Path("runs/monitor")
    resume: bool = False
    """Keep the seeds that a run with the same options has measured in --out, and go on with the others."""
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "before", "during", "streams")
        check_least(self, 50, "labels")
        check_least(self, 0, "false_alarms")
        check_most(self, {"seeds": 100, "streams": 10_000, "labels": 1_400})
        if self.topic not in TOPICS:
            raise InputError(f"there is no topic '{self.topic}': choose one of {', '.join(TOPICS)}.")
        if not 0 < self.calm < self.surge < 1:
            raise InputError(
                f"calm and surge are shares, and a surge has more: 0 < calm < surge < 1, not {self.calm} and {self.surge}."
            )
        if not 0 <= self.neutral < 1:
            raise InputError(f"neutral must be at least 0 and below 1, not {self.neutral}.")
        if not self.models:
            raise InputError(f"no model is left: name one with --models, for instance {TFIDF}.")

    @property
    def plan(self) -> Plan:
        """How the measured streams are drawn."""
        return Plan(self.before, self.during, self.calm, self.surge, TOPICS.index(self.topic))


@dataclass(frozen=True)
class Texts:
    """Some sentences with what is true of them: the mood by their label, the topic by the list of words."""

    texts: list[str]
    negative: np.ndarray
    topics: np.ndarray

    @classmethod
    def of(cls, examples: list[Example]) -> "Texts":
        texts = [example.text for example in examples]
        negative = np.array([example.label == MOODS[0] for example in examples])
        return cls(texts, negative, np.array([TOPICS.index(topic_of(text)) for text in texts]))


@dataclass(frozen=True)
class Read:
    """What somebody takes the sentences of both parts for. `figures` says how good that is on the test part."""

    development: tuple[np.ndarray, np.ndarray]  # topics, negative
    test: tuple[np.ndarray, np.ndarray]
    figures: dict[str, float]


def monitor(options: MonitorOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Fit, watch and measure with every seed; write `monitor.json`, `report.md` and `trend.png`, and return the rows."""
    o, notes = options, Notes(say)
    o.out.mkdir(parents=True, exist_ok=True)
    examples = corpus.labelled("rotten-tomatoes")
    pool, held_out, left_out = unseen(examples, reviews(), DEVELOPMENT + TEST)
    development, test = Texts.of(held_out[:DEVELOPMENT]), Texts.of(held_out[DEVELOPMENT:])
    say(
        f"{left_out} of {len(examples):,} sentences are left out: they occur, whole or almost whole, in the film reviews or twice. "
        f"{len(pool):,} are there to learn from, {len(development.texts):,} to choose by, and {len(test.texts):,} to measure with."
    )
    rows: list[dict] = []
    for seed in range(o.seeds):
        path = o.out / f"seed-{seed}.json"
        known = read_json(path) if o.resume and path.is_file() else {}
        if known.get("options") != (wanted := measured_options(o)):
            known = {"options": wanted, "rows": one_seed(o, seed, pool, development, test)}
            write_json(path, known)
        rows += known["rows"]
        say(f"seed {seed}: " + "; ".join(f"{row['model']}: delay {row['delay']:.0f}" for row in known["rows"]))
    picture = rows[0].pop("picture")
    draw(o, picture)
    first = details_table(
        [row for row in rows if "mood" in row], o.labels, list(READING), "labelled sentences", READING
    )
    second = details_table(rows, o.labels, list(ALARM), "labelled sentences", ALARM)
    report = f"# Opinion monitoring\n\n{first}\n\n{second}"
    write_json(o.out / "monitor.json", {"options": plain(o), "rows": [without_picture(row) for row in rows]})
    write_text(o.out / "report.md", report + "\n")
    notes.write(o.out)
    say(f"\n{report}\n\nThe results are in {o.out}: trend.png, report.md, monitor.json.")
    return rows


def reviews():
    """The texts that our model was pretrained on, and those held out there."""
    return (" ".join(document) for document in corpus.documents("imdb"))


def measured_options(o: MonitorOptions) -> dict:
    """The options that change the figures of a seed."""
    return {name: value for name, value in plain(o).items() if name not in ("seeds", "out", "resume", "progress")}


def without_picture(row: dict) -> dict:
    return {name: value for name, value in row.items() if name != "picture"}


def one_seed(o: MonitorOptions, seed: int, pool: list[Example], development: Texts, test: Texts) -> list[dict]:
    """The rows of one seed: it draws the labelled sentences, the start of the models, and the streams."""
    order = np.random.default_rng(seed).permutation(len(pool))[: o.labels]
    chosen = [pool[i] for i in order]
    parts = development, test
    truth = Read((development.topics, development.negative), (test.topics, test.negative), {})
    readings = {TRUTH: truth} | {title(name): read(o, name, seed, chosen, parts) for name in o.models}
    calm = draw_streams(
        development.negative, development.topics, o.plan._replace(surge=o.calm, during=0), o.streams, 2 * seed
    )
    stormy = draw_streams(test.negative, test.topics, o.plan, o.streams, 2 * seed + 1)
    rows: list[dict] = []
    best = list(readings)[-1]
    for name, reading in readings.items():
        rates = rates_of(o, reading, development)
        quiet, measured = watch(reading.development, calm).z(rates), watch(reading.test, stormy).z(rates)
        h = threshold_for(partial(cusum_rings, quiet), o.false_alarms, 0.0, MOST_H)
        row: dict = {"model": f"{name}, CUSUM", "labels": o.labels, "seed": seed, "h": h} | reading.figures
        rows.append(row | judged(measured, cusum_rings, h, o.plan)._asdict())
    shares = [
        watch(part, streams).share()
        for part, streams in ((readings[best].development, calm), (readings[best].test, stormy))
    ]
    level = threshold_for(partial(window_rings, shares[0]), o.false_alarms, 0.0, 1.0)
    row = {"model": f"{best}, share of the last 50", "labels": o.labels, "seed": seed, "h": level}
    rows.append(row | judged(shares[1], window_rings, level, o.plan)._asdict())
    for row in rows:
        row["false alarms"] = row.pop("false_alarms")
        row["delay"] = min(
            row["delay"], float(o.during)
        )  # JSON knows no infinity; a median beyond the surge is its whole length
    rows[0]["picture"] = first_stream(measured[0], shares[1][0], rows[-2]["h"])
    return rows


def title(name: str) -> str:
    """What a row is called."""
    return "TF-IDF + logistic regression" if name == TFIDF else f"{title_of(name)}, fine-tuned"


def read(o: MonitorOptions, name: str, seed: int, chosen: list[Example], parts: tuple[Texts, Texts]) -> Read:
    """Fit two readers, one of moods and one of topics, and let them read both parts."""
    make: Callable[..., Reader] = (
        CountingReader if name == TFIDF else partial(FineTunedReader, model=name, bar=o.progress)
    )
    mood = make(chosen, MOODS, seed)
    about = make(topic_examples([each.text for each in chosen]), TOPICS, seed)
    p, topics = zip(*((mood(part.texts), about(part.texts).argmax(axis=1)) for part in parts), strict=True)
    least = float(np.quantile(p[0].max(axis=1), o.neutral))
    moods = [three_way(each, least) for each in p]
    test = parts[1]
    true = np.where(test.negative, 0, 1)
    decided = moods[1] != 2
    blind = about([hidden(text) for text in test.texts]).argmax(axis=1)
    few = test.texts[:100]

    def both(texts: list[str]) -> None:
        mood(texts), about(texts)

    figures = {
        "mood": float((p[1].argmax(axis=1) == true).mean()),
        "mood, decided": float((moods[1] == true)[decided].mean()),
        "topic": float((topics[1] == test.topics).mean()),
        "topic, words hidden": float((blind == test.topics).mean()),
        "ms per text": median_milliseconds([partial(both, [text]) for text in few]),
    }
    watched = topics if o.topics == "model" else [part.topics for part in parts]
    return Read((watched[0], moods[0] == 0), (watched[1], moods[1] == 0), figures)


def rates_of(o: MonitorOptions, reading: Read, development: Texts) -> np.ndarray:
    """The share of the texts of each topic that are taken for negative while all is calm and in a surge [K, 2].

    It follows from how often negative and other development texts are taken for negative, and is kept away from 0 and 1.
    """
    negative = reading.development[1]
    hit, slip = negative[development.negative].mean(), negative[~development.negative].mean()
    rates = [share * hit + (1 - share) * slip for share in (o.calm, o.surge)]
    return np.tile(np.clip(rates, 0.01, 0.99), (len(TOPICS), 1))


def watch(taken: tuple[np.ndarray, np.ndarray], streams: np.ndarray) -> Watch:
    """What is taken for what, text by text of the streams."""
    topics, negative = taken
    return Watch(topics[streams], negative[streams], len(TOPICS))


def first_stream(z: np.ndarray, shares: np.ndarray, h: float) -> dict:
    """What the picture shows of the first stream of the first seed."""
    return {"S": np.round(cusum(z), 4).tolist(), "shares": np.round(shares, 4).tolist(), "h": h}


def draw(o: MonitorOptions, picture: dict) -> None:
    """Write `trend.png`."""
    S, shares = (np.array(picture[name]) for name in ("S", "shares"))
    shares = np.where(shares == 0, np.nan, shares)  # before there are 50 texts
    above = np.flatnonzero(S[o.plan.topic, o.before :] > picture["h"])
    alarm = o.before + int(above[0]) if len(above) else None
    lines, statistics = (dict(zip(TOPICS, each, strict=True)) for each in (shares, S))
    trend(lines, statistics, picture["h"], o.before, o.topic, alarm, o.out / "trend.png")

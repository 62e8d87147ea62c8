"""Opinion monitoring: topics and moods, and the command on a small world of sentences."""

import json

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.experiments.applications import monitor as story
from minilm.experiments.applications.monitor import MonitorOptions, monitor
from minilm.experiments.applications.mood import (
    OTHER,
    TOPICS,
    FineTunedReader,
    hidden,
    three_way,
    topic_examples,
    topic_of,
)
from minilm.text.files import Example


def test_a_topic_is_the_one_whose_words_occur_most_often():
    assert topic_of("A funny cast , but the Script and its plot fail .") == "story"
    assert topic_of("jokes about the camera") == "picture"  # one word each: the first topic of the list
    assert topic_of("an hour too long") == OTHER
    assert hidden("A funny cast , but the Script fails .") == "A , but the fails ."
    assert [each.text for each in topic_examples(["a plot", "a plot"])] == ["a", "a plot"]
    assert {each.label for each in topic_examples(["a plot", "a plot"])} == {"story"}


def test_the_least_certain_texts_are_neutral():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert three_way(p, 0.7).tolist() == [0, 2, 1]


def test_a_fine_tuned_reader_gives_probabilities(published_encoder):
    examples = [Example(text, label) for text in ("good", "bad", "so so") for label in ("negative", "positive")]
    reader = FineTunedReader(examples, ("negative", "positive"), 0, published_encoder, bar=False)
    p = reader(["a good plot", "bad"])
    assert p.shape == (2, 2) and p.sum(axis=1) == pytest.approx(1)


@pytest.fixture
def world(monkeypatch):
    """Sentences whose mood hangs on one word, and whose topic may be the story."""
    rng = np.random.default_rng(0)
    words = {"negative": ["dull", "awful", "weak"], "positive": ["fine", "great", "warm"]}
    about = ["the plot", "an hour", "a year", "the day"]
    examples = []
    for i in range(1_200):
        label = ["negative", "positive"][i % 2]
        examples.append(
            Example(f"{about[rng.integers(4)]} of film {i} is {rng.choice(words[label])} and number {i * 7}", label)
        )
    monkeypatch.setattr(story.corpus, "labelled", lambda name: examples)
    monkeypatch.setattr(story, "reviews", lambda: iter([examples[0].text]))
    monkeypatch.setattr(story, "DEVELOPMENT", 500)
    monkeypatch.setattr(story, "TEST", 500)


def test_the_command_draws_and_judges_its_streams_and_resumes(world, tmp_path):
    said = []
    options = dict(
        models=("tf-idf",), labels=60, before=60, during=80, streams=20, seeds=1, out=tmp_path, progress=False
    )
    rows = monitor(MonitorOptions(**options), said.append)
    assert said[0].startswith("1 of 1,200 sentences are left out")
    names = "the labels themselves, CUSUM", "TF-IDF + logistic regression, CUSUM"
    names += ("TF-IDF + logistic regression, share of the last 50",)
    assert tuple(row["model"] for row in rows) == names
    assert rows[1]["mood"] > 0.95 and rows[1]["mood, decided"] >= rows[1]["mood"]
    assert 0 < rows[0]["delay"] < 60 and rows[0]["missed"] < 0.3 and rows[0]["false alarms"] < 8
    assert (tmp_path / "trend.png").stat().st_size > 10_000
    path = tmp_path / "seed-0.json"
    stored = json.loads(path.read_text("utf-8"))
    stored["rows"][0]["missed"] = 0.75
    path.write_text(json.dumps(stored), "utf-8")
    by_words = monitor(MonitorOptions(**options | dict(topics="words", resume=True)), said.append)
    assert by_words[1]["topic"] == rows[1]["topic"] and by_words[1]["delay"] <= rows[1]["delay"]
    stored["options"]["topics"] = "model"
    path.write_text(json.dumps(stored), "utf-8")
    again = monitor(MonitorOptions(**options | dict(resume=True)), said.append)
    assert any(row["missed"] == 0.75 for row in again)  # it was kept
    assert json.loads((tmp_path / "monitor.json").read_text("utf-8"))["options"]["topics"] == "model"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(topic="music"), f"there is no topic 'music': choose one of {', '.join(TOPICS)}"),
        (dict(calm=0.9, surge=0.3), "a surge has more"),
        (dict(neutral=1.0), "neutral must be at least 0 and below 1"),
        (dict(models=()), "no model is left"),
        (dict(labels=10), "labels must be at least 50"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        MonitorOptions(**wrong)

"""Customer service: what is asked, the split, the threshold, the figures, and the conversation."""

import io
import json
from collections import Counter

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.experiments.applications.answering import (
    ANSWERABLE,
    BASE,
    FAR,
    NEAR,
    Outcome,
    Service,
    asked_questions,
    figures,
    halves,
    known_questions,
    outcomes,
    threshold_for,
)
from minilm.experiments.applications.resuming import kept_rows
from minilm.experiments.applications.service import ServiceOptions, service
from minilm.experiments.applications.vectors import Encoder, Together, WordCounts, vectors_named
from minilm.text.duplicates import duplicates
from minilm.text.written_answers import key_of


@pytest.fixture(scope="module")
def world():
    known, by_topic, rows = known_questions()
    return known, by_topic, rows, asked_questions(by_topic)


def test_nothing_is_asked_word_for_word_as_it_is_known(world):
    known, by_topic, rows, asked = world
    assert (len(known), rows) == (407, 1_540)
    assert not {key_of(each.text) for each in asked} & {key_of(question.text) for question in known}
    written = [each.text for each in asked if each.kind != FAR]
    assert len({key_of(text) for text in written}) == len(written)
    texts = [question.text for question in known]
    assert not any(duplicates([text], texts) for text in written)  # not even nearly
    assert Counter(each.kind for each in asked)[NEAR] == 60
    answers = {answer for topic in BASE for question in by_topic[topic] for answer in question.answers}
    assert all(each.right <= answers and bool(each.right) == (each.kind == ANSWERABLE) for each in asked)


def test_both_halves_ask_for_different_things(world):
    asked = world[-1]
    one, other = halves(asked, 1)
    assert not {each.source for each in one} & {each.source for each in other}
    for part in one, other:
        count = Counter(each.kind for each in part)
        assert count[NEAR] == count[FAR] == 30 and 100 < count[ANSWERABLE] < 160
    assert halves(asked, 1) == (one, other) != halves(asked, 2)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.9])
def test_the_threshold_is_the_lowest_that_allows_few_false_answers(share):
    rng = np.random.default_rng(3)
    found = [Outcome(ANSWERABLE, bool(rng.random() < c), float(c)) for c in rng.random(60)]

    def wrong(threshold):
        return np.mean([not each.right and each.cosine >= threshold for each in found])

    threshold = threshold_for(found, share)
    assert wrong(threshold) <= share
    lower = [each.cosine for each in found if each.cosine < threshold]
    assert not lower or wrong(max(lower)) > share


def test_the_figures_are_counted_by_hand():
    found = [
        *(Outcome(ANSWERABLE, True, 0.9), Outcome(ANSWERABLE, True, 0.3), Outcome(ANSWERABLE, False, 0.8)),
        *(Outcome(NEAR, False, 0.7), Outcome(FAR, False, 0.1), Outcome(FAR, False, 0.2)),
    ]
    assert figures(found, 0.5) == pytest.approx(
        {
            "right at 1": 2 / 3,
            "resolved": 1 / 3,
            "false answers": 2 / 6,
            "abstained": 3 / 6,
            f"false, {ANSWERABLE}": 1 / 3,
            f"false, {NEAR}": 1.0,
            f"false, {FAR}": 0.0,
        }
    )


def test_a_known_question_finds_its_own_answer(world):
    known, _, _, asked = world
    found = Service.of(known, WordCounts())
    replies = found.replies([question.text.upper() for question in known])
    assert all(reply.cosine == pytest.approx(1, abs=1e-5) for reply in replies)
    assert np.mean([reply.answer in q.answers for reply, q in zip(replies, known, strict=True)]) == 1
    assert found.milliseconds([each.text for each in asked[:3]]) > 0
    assert 0.3 < np.mean([each.right for each in outcomes(found, asked) if each.kind == ANSWERABLE]) < 0.7
    with pytest.raises(InputError, match="no question with an answer"):
        Service.of([], WordCounts())


def test_two_vectors_side_by_side_have_the_mean_of_their_cosines(published_encoder):
    texts = ["the printer is broken", "my screen is dark", "a book"]
    one, other = WordCounts(), Encoder(published_encoder)
    both = Together(WordCounts(), Encoder(published_encoder))
    for vectors in one, other, both:
        vectors.fit(texts)
    cosines = [vectors(texts) @ vectors(texts).T for vectors in (one, other, both)]
    assert cosines[2] == pytest.approx((cosines[0] + cosines[1]) / 2, abs=1e-5)
    assert other(texts).sum(axis=0) != pytest.approx(other.vectors(texts).sum(axis=0), abs=0.1)  # the mean is gone
    assert vectors_named(f"tf-idf+{published_encoder}").name == "TF-IDF + our pretrained model"


def test_the_command_measures_and_then_talks(tmp_path, monkeypatch):
    said = []
    found = service(ServiceOptions(("tf-idf",), intents=False, out=tmp_path, progress=False), said.append)
    assert [row["seed"] for row in found["rows"]] == [0, 1, 2]
    assert all(row["resolved"] <= row["right at 1"] for row in found["rows"])
    assert json.loads((tmp_path / "service.json").read_text("utf-8")) == found
    assert "1,050 of the rows are 10 questions of tech support" in said[1]
    monkeypatch.setattr("sys.stdin", io.StringIO("my printer is not printing!\nxyzzy\n/quit\nnever read\n"))
    talk = service(ServiceOptions(("tf-idf",), talk=True, out=tmp_path), said.append)
    assert [question for question, _ in talk] == ["my printer is not printing!", "xyzzy"]
    assert "paper" in talk[0][1] and talk[1][1] == "I have no answer to that."


def test_answers_of_your_own(tmp_path, monkeypatch):
    file = tmp_path / "shop.csv"
    file.write_text("question,answer\nwhen do you open,At nine.\nwhere are you,In Rome.\n", encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("where are you now\n"))
    options = ServiceOptions(("tf-idf",), talk=True, answers=str(file), threshold=0.3, out=tmp_path)
    assert service(options, lambda line: None) == [("where are you now", "In Rome.")]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(models=()), "no model is left"),
        (dict(models=("tf-idf",)), "intents are learned by a model"),
        (dict(false_answers=1.0), "false_answers must be at least 0 and below 1"),
        (dict(threshold=2.0), "must be from -1 to 1, not 2.0"),
        (dict(answers="a.csv"), "add --talk"),
        (dict(seeds=0), "seeds must be at least 1"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        ServiceOptions(**wrong)


def test_intents_are_resumed_with_the_same_models_alone(tmp_path, monkeypatch):
    rows = [{"model": "majority", "labels": 400, "seed": 0, "accuracy": 0.5, "seconds": 0.0, "parameters": 0}]
    path = tmp_path / "intents.json"
    assert kept_rows(path, {"models": ["a", "b"]}, resume=True) == []  # there is nothing yet
    path.write_text(json.dumps(rows), "utf-8")
    assert kept_rows(path, {"models": ["a", "b"]}, resume=True) == rows
    with pytest.raises(
        InputError, match=r"intents.json was measured with --models a b, and this is --models a: resume"
    ):
        service(ServiceOptions(("tf-idf", "a"), resume=True, out=tmp_path), lambda line: None)
    assert json.loads(path.read_text("utf-8")) == rows
    assert kept_rows(path, {"models": ["a"]}, resume=False) == []  # begun anew: the old rows are gone
    assert kept_rows(path, {"models": ["a"]}, resume=True) == []


def test_talking_before_measuring_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no threshold for tf-idf: run `minilm service` first"):
        service(ServiceOptions(("tf-idf",), talk=True, out=tmp_path), lambda line: None)

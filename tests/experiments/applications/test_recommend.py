"""Recommendation: who is measured, what each recommender learns, and the command on a small world of films."""

import json

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.experiments.applications import recommend as story
from minilm.experiments.applications.recommend import RecommendOptions, film_named, judged, parts_of, ranked, recommend
from minilm.experiments.applications.recommenders import (
    LikedTogether,
    Popularity,
    Profile,
    Towers,
    next_likes,
    tag_vectors,
)
from minilm.text.ratings import Film, Likes

RNG = np.random.default_rng(0)
FILMS = [Film(f"{kind} {i}", "1990", (kind,)) for kind in ("war", "love") for i in range(30)]


def person(seed):
    """Somebody who likes films of one kind, and in this kind those with a low number."""
    rng = np.random.default_rng(seed)
    first = 30 * int(rng.integers(2))
    return (first + rng.permutation(30)[: int(rng.integers(5, 9))]).tolist()


PEOPLE = [person(seed) for seed in range(60)]


def test_every_seed_measures_other_people_and_learns_from_none_of_them():
    people = [[i] for i in range(53)]
    measured = []
    for seed in range(5):
        learn, development, test = (sum(part, []) for part in parts_of(people, seed))
        assert sorted(learn + development + test) == list(range(53))
        measured += test
    assert sorted(measured) == list(range(53))


def test_liked_together_is_the_sum_of_cosines():
    model = LikedTogether()
    model.learn(PEOPLE, 60, 0)
    history = PEOPLE[3][:4]
    columns = np.array([[film in each for each in PEOPLE] for film in range(60)], dtype=float)
    sizes = np.linalg.norm(columns, axis=1).clip(1)
    expected = [sum(columns[i] @ columns[j] / sizes[i] / sizes[j] for j in history) for i in range(60)]
    assert model([history], 0)[0] == pytest.approx(expected, rel=1e-5)
    assert model([history], 2) == pytest.approx(model([history[-2:]], 0), rel=1e-6)


def test_rare_tags_weigh_more_and_every_film_has_length_1():
    films = [Film("a", "", ("x", "y")), Film("b", "", ("x",)), Film("c", "", ("x",)), Film("d", "", ())]
    v = tag_vectors(films)
    assert np.linalg.norm(v, axis=1) == pytest.approx([1, 1, 1, 0])
    assert v[0] == pytest.approx(np.array([np.log(4 / 3), np.log(4)]) / np.hypot(np.log(4 / 3), np.log(4)))


def test_the_likes_to_foresee_follow_those_before_them():
    data = next_likes(PEOPLE, 0)
    assert len(data) == sum(len(each) - 1 for each in PEOPLE)
    for row, label in zip(data.rows, data.labels, strict=True):
        assert any(each[: len(row) + 1] == [*row, label] for each in PEOPLE)


def test_whoever_knows_the_kind_is_better_than_popularity():
    learn, test = PEOPLE[:40], PEOPLE[40:]
    found = {}
    for each in (Popularity(), Profile("tags", tag_vectors(FILMS)), Towers("tags", tag_vectors(FILMS), bar=False)):
        each.learn(learn, 60, 0)
        found[each.name] = judged(each, test, each.choices[0])
        shown = ranked(each, test[0][:-1], 0, 10)
        assert len(set(shown)) == 10 and not set(shown) & set(test[0][:-1])
    hits = [figures["hit@10"] for figures in found.values()]
    assert hits[0] < hits[1] and hits[0] < hits[2]
    assert all(0 < figures["nDCG@10"] <= figures["hit@10"] for figures in found.values())


def test_the_command_measures_resumes_and_recommends(tmp_path, monkeypatch):
    monkeypatch.setattr(story.corpus, "likes", lambda note: Likes(FILMS, PEOPLE))
    options = dict(models=("tf-idf",), out=tmp_path, progress=False)
    rows = recommend(RecommendOptions(**options, seeds=2), lambda line: None)
    assert [row["model"] for row in rows[:4]] == ["popularity", "tags", "text by TF-IDF", "liked together"]
    assert len(rows) == 8 and "| tags |" in (tmp_path / "report.md").read_text("utf-8")
    kept = recommend(RecommendOptions(**options, seeds=2, resume=True), lambda line: None)
    assert kept == rows  # with the milliseconds of before: nothing was fitted again
    other = options | dict(models=("tf-idf", "tf-idf+tf-idf"))
    with pytest.raises(
        InputError, match="recommend.json was measured with --models tf-idf, and this is --models tf-idf tf-"
    ):
        recommend(RecommendOptions(**other, seeds=2, resume=True), lambda line: None)
    (tmp_path / "recommend-options.json").unlink()
    with pytest.raises(InputError, match=r"nothing says with which options .* \(recommend-options.json is missing\)"):
        recommend(RecommendOptions(**options, seeds=2, resume=True), lambda line: None)
    assert json.loads((tmp_path / "recommend.json").read_text("utf-8")) == rows  # nothing is lost
    found = recommend(RecommendOptions(**options, likes=("WAR 3", "war 5"), top=4), lambda line: None)
    assert len(found) == 4 and sum(text.startswith("war") for text in found) >= 3
    assert not {text.split(" (")[0] for text in found} & {"war 3", "war 5"}


def test_an_unknown_film_gets_suggestions():
    with pytest.raises(InputError, match="no film is called 'war 33' among the 60 .* did you mean 'war"):
        film_named(Likes(FILMS, PEOPLE), "war 33")


@pytest.mark.parametrize("wrong", [dict(models=()), dict(seeds=6), dict(top=0)])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        RecommendOptions(**wrong)

"""Recommendation: `minilm recommend` ranks films by their texts and by what people liked before, and measures it.

D0, D2, D3 and D4 §6.3 describe it: texts of the items as input, what people did as the label, and a list for each person.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minilm.errors import InputError, check_least, check_most
from minilm.experiments.applications.recommenders import (
    LikedTogether,
    Popularity,
    Profile,
    Recommender,
    Towers,
    tag_vectors,
    text_vectors,
)
from minilm.experiments.applications.resuming import kept_rows
from minilm.experiments.applications.vectors import median_milliseconds, vectors_named
from minilm.experiments.table import details_table
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Notes
from minilm.text import corpus
from minilm.text.ratings import Likes
from minilm.training.ranking import hit_at, ndcg_at, places_of

FOLDS = 5  # parts of the people: one is measured, one is chosen by, and the others are learned from
FEWEST = 5  # likes of a person who is measured
COLUMNS = {"hit@10": 3, "nDCG@10": 3, "different films": 0, "ms per list": 1}


@dataclass(frozen=True)
class RecommendOptions:
    """Recommend films to people by the texts of the films and by past likes, and measure how often the film that a person liked
    next is among the first ten; with --likes, recommend films to you."""

    models: tuple[str, ...] = ("tf-idf", "runs/quickstart/pretrained", "all-minilm-l6-v2")
    """How the films' texts become vectors: tf-idf, the folder of a model, a published model, or two of them joined by a plus."""
    likes: tuple[str, ...] = ()
    """Titles that you liked: prints a list for you, with the last one of --models, instead of measuring."""
    top: int = 10
    """How many films that list has."""
    seeds: int = 3
    """Each seed measures another fifth of the people."""
    out: Path = Path("runs/recommend")
    resume: bool = False
    """Keep the rows that a run with the same options has measured in --out, and go on with the others."""
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "top")
        check_most(self, {"seeds": FOLDS, "top": 1_000})
        if not self.models:
            raise InputError("no model is left: name one with --models, for instance tf-idf.")


class Films:
    """The films with their vectors, which are made when they are first needed."""

    def __init__(self, likes: Likes, models: tuple[str, ...]):
        self.likes, self.models = likes, models

    @cached_property
    def vectors(self) -> dict[str, np.ndarray]:
        """The vectors of the films' texts, by the names of the models."""
        made = [vectors_named(name) for name in self.models]
        return {each.name: text_vectors(self.likes.films, each) for each in made}

    def recommenders(self, bar: bool) -> list[Recommender]:
        """The rows of the table."""
        by_text = [Profile(f"text by {name}", vectors) for name, vectors in self.vectors.items()]
        towers = [Towers(name, vectors, bar) for name, vectors in self.vectors.items() if name != "TF-IDF"]
        return [Popularity(), Profile("tags", tag_vectors(self.likes.films)), *by_text, *towers, LikedTogether()]


def recommend(options: RecommendOptions, say: Callable[[str], None] = print) -> list[dict] | list[str]:
    """Measure, or with --likes recommend. Measuring writes `recommend.json` and `report.md`, and returns the rows."""
    notes = Notes(say)
    films = Films(corpus.likes(notes), options.models)
    return for_you(options, films, say) if options.likes else measured(options, films, say, notes)


def measured(o: RecommendOptions, films: Films, say: Callable[[str], None], notes: Notes) -> list[dict]:
    """The table."""
    people = [each for each in films.likes.people if len(each) >= FEWEST]
    say(
        f"{len(people)} people liked {sum(map(len, people)):,} films, {len(films.likes.films):,} different ones. Each seed learns "
        f"from three fifths of the people, chooses by one, and measures the last like of those in the other."
    )
    path = o.out / "recommend.json"
    rows = kept_rows(path, {"models": o.models}, o.resume)
    jobs = [(seed, each) for seed in range(o.seeds) for each in films.recommenders(o.progress)]
    for seed, recommender in tqdm(jobs, desc="fits", disable=None if o.progress else True, leave=False):
        if not any((row["model"], row["seed"]) == (recommender.name, seed) for row in rows):
            rows.append(one_row(recommender, parts_of(people, seed), len(films.likes.films), seed))
            write_json(path, rows)
    for row in rows:
        row["labels"] = rows[0]["labels"]  # the fifths differ by one person
    report = f"# Recommendation\n\n{details_table(rows, rows[0]['labels'], list(COLUMNS), 'people', COLUMNS)}"
    write_json(path, rows)
    write_text(o.out / "report.md", report + "\n")
    notes.write(o.out)
    say(f"\n{report}\n\nThe results are in {o.out}: recommend.json, report.md.")
    say('Try next:  minilm recommend --likes "toy story" "apollo 13"')
    return rows


def one_row(recommender: Recommender, parts: tuple[list[list[int]], ...], films: int, seed: int) -> dict:
    """Learn, choose and measure."""
    learn, development, test = parts
    parameters = recommender.learn(learn, films, seed)
    chosen = max(recommender.choices, key=lambda choice: judged(recommender, development, choice)["nDCG@10"])
    row = {"model": recommender.name, "labels": len(test), "seed": seed, "choice": chosen, "parameters": parameters}
    calls = [lambda each=each: ranked(recommender, each[:-1], chosen, 10) for each in test[:50]]
    return row | judged(recommender, test, chosen) | {"ms per list": median_milliseconds(calls)}


def parts_of(people: list[list[int]], seed: int) -> tuple[list[list[int]], ...]:
    """The people to learn from, to choose by, and to measure: every seed measures others."""
    order = np.random.default_rng(0).permutation(len(people))
    folds = [[people[i] for i in part] for part in np.array_split(order, FOLDS)]
    test, development, *others = (folds[(seed + i) % FOLDS] for i in range(FOLDS))
    return [each for fold in others for each in fold], development, test


def judged(recommender: Recommender, people: list[list[int]], choice: int) -> dict[str, float]:
    """hit@10 and nDCG@10 of the last like of each person, from all likes before it, among all films that are not among these;
    and how many different films stand in the lists."""
    histories, right = [each[:-1] for each in people], np.array([each[-1] for each in people])
    scores = recommender(histories, choice)
    seen = np.zeros(scores.shape, dtype=bool)
    for row, history in zip(seen, histories, strict=True):
        row[history] = True
    places = places_of(scores, right, seen)
    shown = np.argsort(-np.where(seen, -np.inf, scores), axis=1, kind="stable")[:, :10]
    figures = {"hit@10": float(hit_at(10, places).mean()), "nDCG@10": float(ndcg_at(10, places).mean())}
    return figures | {"different films": len(np.unique(shown))}


def ranked(recommender: Recommender, history: list[int], choice: int, top: int) -> list[int]:
    """The numbers of the films to recommend, the best first."""
    scores = recommender([history], choice)[0].copy()
    scores[history] = -np.inf
    return np.argsort(-scores, kind="stable")[:top].tolist()


def for_you(o: RecommendOptions, films: Films, say: Callable[[str], None]) -> list[str]:
    """Films for somebody who liked these, by the two towers that learned from everybody."""
    history = [film_named(films.likes, title) for title in o.likes]
    last = Films(films.likes, o.models[-1:])
    name, vectors = next(iter(last.vectors.items()))
    recommender = Towers(name, vectors, o.progress)
    recommender.learn([each for each in films.likes.people if len(each) > 1], len(films.likes.films), 0)
    say(f"{recommender.name}, for somebody who liked {'; '.join(films.likes.films[i].text for i in history)}:")
    found = [films.likes.films[i].text for i in ranked(recommender, history, 0, o.top)]
    for place, text in enumerate(found, 1):
        say(f"{place:4}  {text}")
    return found


def film_named(likes: Likes, title: str) -> int:
    """The number of the film with this title, in any case. Raises InputError if there is none."""
    titles = [film.title.lower() for film in likes.films]
    if title.lower() in titles:
        return titles.index(title.lower())
    near = difflib.get_close_matches(title.lower(), titles, 3)
    hint = (
        "; did you mean " + ", ".join(f"'{likes.films[titles.index(name)].title}'" for name in near) + "?"
        if near
        else ""
    )
    raise InputError(f"no film is called '{title}' among the {len(titles):,} of MovieLens, all from before 1999{hint}.")

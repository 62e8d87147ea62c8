"""Ways to recommend: each scores all films for people whose likes it is given, after it has learned from other people's likes."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from minilm.examples.batching import Dataset
from minilm.experiments.applications.vectors import TextVectors
from minilm.models.config import parameter_count
from minilm.models.two_towers import TwoTowers
from minilm.text.ratings import Film
from minilm.training.supervised import Recipe, fit

History = list[int]
MOST = 50  # likes that the towers read, the last ones
RECIPE = Recipe(epochs=6, batch=64, learning_rate=2e-3, weight_decay=0.05)
PER_PERSON = 20  # likes of each person that the towers learn to foresee


@runtime_checkable
class Recommender(Protocol):
    """See the top of the file. `choices` are settings to choose among on the development part; the last argument is one of them."""

    name: str

    @property
    def choices(self) -> Sequence[int]: ...

    def learn(self, people: list[History], films: int, seed: int) -> int:
        """Learn from these people's likes, and return the number of parameters that were trained."""

    def __call__(self, histories: list[History], choice: int) -> np.ndarray:
        """The score of every film for every history [N, I]."""


class Popularity:
    """The films that most people liked come first, for everybody."""

    name = "popularity"
    choices = (0,)

    def learn(self, people: list[History], films: int, seed: int) -> int:
        self.count = counts(people, films)
        return 0

    def __call__(self, histories: list[History], choice: int) -> np.ndarray:
        return np.tile(self.count.astype(float), (len(histories), 1))


class Profile:
    """The films nearest to the mean of what a person liked, by vectors. The choice is how many of the last likes count, 0 for all."""

    choices = (0, 1, 5, 20)

    def __init__(self, name: str, vectors: np.ndarray):
        self.name, self.vectors = name, vectors

    def learn(self, people: list[History], films: int, seed: int) -> int:
        return 0

    def __call__(self, histories: list[History], choice: int) -> np.ndarray:
        u = np.stack([self.vectors[history[-choice:]].mean(axis=0) for history in histories])
        return np.round(u @ self.vectors.T, 6)  # rounding errors are no reason to prefer one of two equal films


class LikedTogether:
    """What people liked who liked the same: Σⱼ cᵢⱼ/√(cᵢᵢ cⱼⱼ) over a person's likes j, where cᵢⱼ people liked both.

    It reads no text.
    """

    name = "liked together"
    choices = (0, 5, 20)

    def learn(self, people: list[History], films: int, seed: int) -> int:
        x = np.zeros((len(people), films), dtype=np.float32)
        for row, history in zip(x, people, strict=True):
            row[history] = 1
        c = x.T @ x
        size = np.sqrt(c.diagonal()).clip(1)
        self.cosine = c / size[:, None] / size
        return 0

    def __call__(self, histories: list[History], choice: int) -> np.ndarray:
        return np.stack([self.cosine[history[-choice:]].sum(axis=0) for history in histories])


class Towers:
    """Two towers on vectors of the films' texts, trained to foresee what a person likes next."""

    choices = (0,)

    def __init__(self, name: str, vectors: np.ndarray, bar: bool = True):
        self.name, self.vectors, self.bar = f"two towers on {name}", torch.from_numpy(vectors), bar

    def learn(self, people: list[History], films: int, seed: int) -> int:
        popularity = torch.from_numpy(np.log1p(counts(people, films))).float()
        self.model = TwoTowers(self.vectors, popularity, generator=torch.Generator().manual_seed(seed))
        fit(self.model, next_likes(people, seed), RECIPE, seed, bar=self.bar)
        return parameter_count(self.model)

    @torch.inference_mode()
    def __call__(self, histories: list[History], choice: int) -> np.ndarray:
        rows = [self.model(torch.tensor([history[-MOST:]]))[0].numpy() for history in histories]
        return np.stack(rows)


def next_likes(people: list[History], seed: int) -> Dataset:
    """Likes to foresee, at most `PER_PERSON` of each person, from those before them."""
    rng = np.random.default_rng(seed)
    rows, labels = [], []
    for history in people:
        places = np.arange(1, len(history))
        for t in sorted(rng.permutation(places)[:PER_PERSON].tolist()):
            rows.append(history[max(0, t - MOST) : t])
            labels.append(history[t])
    return Dataset({"input_ids": rows, "labels": labels}, {"input_ids": 0}, list(range(len(rows))))


def counts(people: list[History], films: int) -> np.ndarray:
    """How many people liked each film."""
    return np.bincount([film for history in people for film in history], minlength=films)


def tag_vectors(films: Sequence[Film]) -> np.ndarray:
    """The genres of each film as a vector of length 1, rare genres with more weight: log(I / films with it)."""
    tags = sorted({tag for film in films for tag in film.tags})
    x = np.array([[tag in film.tags for tag in tags] for film in films], dtype=np.float32)
    x *= np.log(len(films) / x.sum(axis=0).clip(1))
    return x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)


def text_vectors(films: Sequence[Film], vectors: TextVectors) -> np.ndarray:
    """The vectors of the films' texts: title, year and tags."""
    texts = [film.text for film in films]
    vectors.fit(texts)
    return vectors(texts)

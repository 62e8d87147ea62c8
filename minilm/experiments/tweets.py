"""The second English task: names in tweets, ten kinds of them. Here context decides, as it does in the Chinese newspaper.

The tweets are the training set of a shared task (Strauss et al., 2016, Results of the WNUT16 named entity recognition shared
task), most of them from Ritter et al. (2011), Named entity recognition in tweets. It is a hard task: three of five tweets hold no
name, a name occurs 1.3 times on average, and people retweet, so near copies have to be kept apart.
"""

from collections.abc import Callable, Iterable
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch

from minilm.errors import InputError
from minilm.experiments.development import development, spaced
from minilm.experiments.english import English, pretraining_text
from minilm.experiments.ladder import Material
from minilm.experiments.names import NamesTrack
from minilm.experiments.rungs import Epochs
from minilm.jobs.pretrain import PretrainOptions, prepare_for
from minilm.text import corpus
from minilm.text.duplicates import duplicates
from minilm.text.prepare import Prepared
from minilm.text.tagged import TaggedLine
from minilm.training.supervised import Recipe
from minilm.training.tasks import TokenTask

TEST, DEVELOPMENT = 700, 300
KINDS = (
    *("company", "facility", "geo-loc", "movie", "musicartist"),
    *("other", "person", "product", "sportsteam", "tvshow"),
)
TASK = TokenTask(("O", *(f"{letter}-{kind}" for kind in KINDS for letter in "BI")), units="clitics")


class Parts(NamedTuple):
    """Tweets to learn from, to choose on, and to measure on; `left_out` is how many are in none of them."""

    pool: list[TaggedLine]
    development: list[TaggedLine]
    test: list[TaggedLine]
    left_out: int


def parts(lines: list[TaggedLine], text: Iterable[str] = ()) -> Parts:
    """The three parts, the same in every run. Tweets that occur, whole or almost whole, twice or in `text` are left out.

    A tweet that occurs twice is left out with all its copies: what half of its words say is not new to a model that has
    learned from a copy. Raises InputError if too few tweets are left.
    """
    found = duplicates(list(map(spaced, lines)), text)
    order = [i for i in np.random.default_rng(0).permutation(len(lines)).tolist() if i not in found]
    if len(order) <= TEST + DEVELOPMENT:
        raise InputError(
            f"{len(order):,} tweets that occur once are too few: more than {TEST + DEVELOPMENT:,} are needed."
        )
    test, others = ([lines[i] for i in some] for some in (order[:TEST], order[TEST:]))
    return Parts(*development(others, test, DEVELOPMENT, seed=0), test, len(found))


def tweets(
    prepared: Prepared,
    settings: PretrainOptions,
    device: torch.device,
    say: Callable[[str], None],
    measure_on: Literal["development", "test"] = "test",
) -> Material:
    """The tweets for a ladder, in the quickstart's own word pieces; choices are made with `measure_on="development"`."""
    lines = corpus.tagged("tweets")
    found = parts(lines, pretraining_text(prepared))
    say(
        f"{found.left_out} of {len(lines):,} tweets occur, whole or almost whole, twice or in the film reviews, and are left "
        f"out. {len(found.test):,} are the test set, {len(found.development):,} are there to choose on, and "
        f"{len(found.pool):,} to learn from."
    )
    measured = found.test if measure_on == "test" else found.development
    return Material.encoded(TASK, (found.pool, measured), prepared.tokenizer, settings.length, device)


class Tweets(NamesTrack, English):
    """The English track with another task: the pretrained model is the same."""

    tagger, unit = TASK, "tweets"

    task = "names in tweets: which words are names, and of what? There are ten kinds of them."
    title = f"Names found in {TEST} unseen tweets"
    metric = "f1"
    labels = (1_000,)
    example = "just saw taylor swift in new york city !"
    sentences = (
        "just saw taylor swift in new york city !",
        "watching the lakers game at madison square garden tonight",
        "my new iphone from apple is so good",
        "harry potter is on tv again",
        "good morning everyone , have a great day",
    )
    recipes = {
        "lstm": Recipe(epochs=20, learning_rate=3e-3, embedding_learning_rate_scale=0.3),
        "scratch": Recipe(epochs=20, learning_rate=1e-3, embedding_learning_rate_scale=1.0),
        "vectors": Recipe(epochs=20, learning_rate=1e-3, embedding_learning_rate_scale=0.3),
        "start": Recipe(epochs=20, learning_rate=1e-3, embedding_learning_rate_scale=0.3),
        "head": Recipe(epochs=20, learning_rate=1e-2, head_only=True),
        "pretrained": Recipe(epochs=20, learning_rate=1e-3, embedding_learning_rate_scale=0.3),
    }
    epochs: ClassVar[Epochs] = {}

    def material(self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say) -> Material:
        """The tweets; see `tweets`."""
        return tweets(prepared, settings, device, say)

    def development(self, material: Material, settings: PretrainOptions) -> Material:
        """The development part of `parts`."""
        prepared = prepare_for(settings, lambda line: None)
        return tweets(prepared, settings, material.device, lambda line: None, "development")

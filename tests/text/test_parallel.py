"""Pairs of texts: from files of packages and of one's own, split without leaks, and tokens that can be copied."""

import gettext
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minilm.errors import InputError
from minilm.text import corpus
from minilm.text.memory import TranslationMemory, open_memory, samples_of, save_samples
from minilm.text.parallel import (
    families,
    learn_tokenizer,
    likeness,
    pair_vectors,
    placeholders,
    read_parallel,
    shorter,
    split_apart,
    without_duplicates,
)
from minilm.text.translations import of_json, of_mo, translations


@pytest.fixture(scope="module")
def strings():
    return {name: corpus.parallel(name) for name in corpus.PARALLEL}


def test_every_corpus_has_the_pairs_it_says(strings):
    assert {name: len(found) for name, found in strings.items()} == {
        name: corpus.CORPORA[name].examples for name in corpus.PARALLEL
    }
    assert ("January", "一月") in strings["django-zh"]
    for found in strings.values():
        assert all(a == a.strip() and b == b.strip() and a and b for a, b in found)
        assert not any(chr(4) in a + b or chr(0) in a + b for a, b in found)


@pytest.mark.parametrize("name", ["django-zh", "sphinx-zh"])
def test_mo_files_are_read_as_gettext_reads_them(name):
    for file in list(corpus.CORPORA[name].files)[:4]:
        path = corpus.corpus_file(name, file)
        with open(path, "rb") as stream:
            referee = gettext.GNUTranslations(stream)
        entries = list(of_mo(path))
        assert len(entries) > 3
        for original, translated in entries:
            context, _, english = original.rpartition(chr(4))
            singular, _, plural = english.partition(chr(0))
            if plural:
                assert referee.ngettext(singular, plural, 1) == translated.split(chr(0))[0]
            else:
                found = referee.pgettext(context, singular) if context else referee.gettext(singular)
                assert found == translated


def test_json_and_mo_of_the_same_strings_say_the_same():
    """JupyterLab's package has both; we read the JSON."""
    name, file = "jupyterlab-zh", next(f for f in corpus.CORPORA["jupyterlab-zh"].files if f.endswith("/notebook.json"))
    path = corpus.corpus_file(name, file)
    assert dict(of_json(path)) == {k.split(chr(0))[0]: v.split(chr(0))[0] for k, v in of_mo(path.with_suffix(".mo"))}
    assert 50 < len(list(translations(path))) <= len(dict(of_json(path)))


def test_a_file_that_is_no_mo_file_is_refused(tmp_path):
    path = tmp_path / "a.mo"
    path.write_bytes(b"hello")
    with pytest.raises(InputError, match="a.mo is not a file of GNU gettext"):
        list(of_mo(path))


def test_parallel_corpora_have_no_documents():
    with pytest.raises(InputError, match="'django-zh' has pairs of strings and no documents"):
        corpus.documents("django-zh")


# ------------------------------------------------------------------------------- your own files


@pytest.mark.parametrize(
    ("one", "other", "complaint"),
    [
        ("a\nb\n", "c\n", r"source.txt has 2 lines and .*target.txt has 1: line n of one"),
        ("", "c\n", r"source.txt is empty: write one text per line"),
        ("a\n", " \n\n", r"target.txt is empty"),
        ("a\n\nb\n", "c\nd\ne\n", r"source.txt, line 2 is empty: remove it in both files"),
        (None, "c\n", r"no such file: .*source.txt"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, one, other, complaint):
    paths = tmp_path / "source.txt", tmp_path / "target.txt"
    for path, text in zip(paths, (one, other), strict=True):
        if text is not None:
            path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=complaint):
        read_parallel(*paths)


def test_lines_belong_together_by_their_number(tmp_path):
    (tmp_path / "a").write_text("one\r\n two \n", encoding="utf-8")
    (tmp_path / "b").write_text("\ufeff一\n二", encoding="utf-8")
    assert read_parallel(tmp_path / "a", tmp_path / "b") == [("one", "一"), ("two", "二")]


# ------------------------------------------------------------------------------- placeholders and parts


def test_placeholders_are_found_and_counted():
    text = "%1 of %(name)s, {user} and {user}: 100% of %s or {0:d}, %d"
    assert placeholders(text) == {"%1": 1, "%(name)s": 1, "{user}": 2, "%s": 1, "{0:d}": 1, "%d": 1}
    assert not placeholders("50 % of all {braces with words}")


def test_what_is_alike():
    assert likeness("Open File…") == likeness("open file") == likeness("Open %1 file:") != likeness("Open files")
    assert likeness("…") == "…" != likeness("%1")


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.integers(0, 10_000))
def test_no_source_or_target_of_one_part_is_alike_to_one_of_another(seed):
    rng = random.Random(seed)
    words = ["open", "Open", "close…", "close", "new %1", "new", "tab", "Tab:"]
    pairs = [(rng.choice(words) + rng.choice(["", " a", " b"]), rng.choice("甲乙丙丁戊己庚辛") * 2) for _ in range(30)]
    groups = families(pairs)
    assert sorted(i for group in groups for i in group) == list(range(30))
    if len(groups) < 4:
        with pytest.raises(InputError, match="cannot be split"):
            split_apart(pairs, len(groups), 1, seed)
        return
    parts = split_apart(pairs, 1, 1, seed)
    for one, other in combinations(parts, 2):
        for side in (0, 1):
            assert not {likeness(p[side]) for p in one} & {likeness(p[side]) for p in other}
    assert all(parts) and len(parts[1]) == len(parts[2]) == 1


def test_the_strings_are_split_without_a_leak_and_the_same_way_every_time(strings):
    pairs = without_duplicates([pair for found in strings.values() for pair in found])
    assert len(pairs) == len({source for source, _ in pairs})
    heard: list[str] = []
    short = shorter(pairs, 120, heard.append)
    assert len(heard) == 1 and f"{len(pairs) - len(short)} of {len(pairs):,} pairs have more than 120" in heard[0]
    training, development, test = split_apart(short, 500, 300, 0)
    assert (len(test), len(development)) == (500, 300) and len(training) > 3_000
    for side in (0, 1):
        known = {likeness(pair[side]) for pair in training}
        assert not any(likeness(pair[side]) in known for pair in [*test, *development])
    assert split_apart(short, 500, 300, 0)[2] == test != split_apart(short, 500, 300, 1)[2]


# ------------------------------------------------------------------------------- the tokenizer


def test_every_text_comes_back_and_what_may_be_copied_is_a_piece(strings):
    pairs = strings["sphinx-zh"]
    tokenizer = learn_tokenizer(pairs[:600], 1_000)
    texts = [text for pair in pairs for text in pair] + ["Ünïcode 𝕏 😀", " two  spaces ", "tab\tand\nline"]
    assert [tokenizer.text(ids) for ids in tokenizer.ids(texts)] == texts
    assert tokenizer.tokens(tokenizer.ids(["May 1998"])[0])[-4:] == list("1998")
    assert "%s" in tokenizer.tokens(tokenizer.ids(["file %s: 3"])[0])
    ids = tokenizer.ids(["在 %s 中"])[0]
    assert [tokenizer.text([i]) for i in ids] == ["在", " ", "%s", " ", "中"]
    with pytest.raises(InputError, match="a vocabulary of 200 is too small for bytes"):
        learn_tokenizer(pairs, 200)


# ------------------------------------------------------------------------------- a translation memory

KNOWN = [
    ("Open file", "打开文件"),
    ("open file…", "打开文件…"),
    ("Open the file %s", "打开文件 %s"),
    ("Close tab", "关闭标签"),
]


def test_a_source_gets_the_translations_of_its_neighbours_as_hints():
    memory = TranslationMemory(KNOWN)
    assert memory.hinted(["Open the file {name} now"], 1) == ["Open the file {name} now\t打开文件 {name}"]
    assert memory.hinted(["Close the tab"], 2)[0].startswith("Close the tab\t关闭标签\t打开文件")
    assert memory.hinted(["Close"], 0) == ["Close"] and memory.nearest(["close TABS"]) == ["关闭标签"]


def test_no_pair_is_a_hint_for_itself_or_for_one_that_is_alike():
    learnt = TranslationMemory(KNOWN).hinted_pairs(1)
    assert [target for _, target in learnt] == [target for _, target in KNOWN]
    hints = [source.split("\t")[1] for source, _ in learnt]
    assert hints[:3] == 3 * ["关闭标签"] and hints[3].startswith("打开文件")  # the first three are one family
    assert TranslationMemory(KNOWN).hinted_pairs(0) == KNOWN


def test_a_memory_is_kept_beside_a_model(tmp_path):
    assert open_memory(tmp_path) is None
    for fold, neighbours, source in ((False, 2, "Close a tab"), (True, 1, "Open %(Name)s in JupyterLab: A URL")):
        memory = TranslationMemory(KNOWN, fold)
        memory.save(tmp_path, neighbours)
        found = open_memory(tmp_path)
        assert found is not None and found[1] == neighbours
        assert found[0].hinted([source], neighbours) == memory.hinted([source], neighbours)
    assert memory.read("Open %(Name)s in JupyterLab: A URL") == " open %(Name)s in JupyterLab: a URL"
    (tmp_path / "memory.json").write_text('{"pairs": [["a"]]}', encoding="utf-8")
    with pytest.raises(InputError, match="is not a translation memory"):
        open_memory(tmp_path)
    with pytest.raises(InputError, match="without pairs has no neighbours"):
        TranslationMemory([])


def test_how_many_translations_are_drawn_is_kept_beside_a_model(tmp_path):
    save_samples(tmp_path, 0)
    assert samples_of(tmp_path) == 0 and not list(tmp_path.iterdir())
    save_samples(tmp_path, 7)
    assert samples_of(tmp_path) == 7
    for content in ('{"samples": "many"}', '{"samples": -1}', "{}"):
        (tmp_path / "translation.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match="does not say how many samples to draw"):
            samples_of(tmp_path)


def test_F34_a_word_is_near_its_translation_and_the_vectors_are_those_of_the_counts():
    """Six words in random pairs, their translations in another order: each word's nearest neighbour is its translation."""
    words = dict(zip(["open", "file", "delete", "cell", "search", "window"], "开文删格搜窗", strict=True))
    draw = random.Random(3)
    pairs = []
    for _ in range(60):
        chosen = draw.sample(sorted(words), 2)
        pairs.append((" ".join(chosen), "".join(words[word] for word in reversed(chosen))))
    tokenizer = learn_tokenizer([*pairs, *((f" {word}", "") for word in words for _ in range(60))], 400)
    vectors = pair_vectors(pairs, tokenizer, 8, seed=0)
    assert vectors.shape == (tokenizer.size, 8)
    ids = {token: tokenizer.ids([f"{token}"])[0] for token in [*words, *words.values()]}
    assert all(len(row) == 1 for row in ids.values())
    for word, translation in words.items():
        cosines = {other: float(vectors[ids[word][0]] @ vectors[ids[other][0]]) for other in words.values()}
        assert max(cosines, key=cosines.__getitem__) == translation, (word, cosines)
    assert np.abs(np.linalg.norm(vectors[vectors.any(axis=1)], axis=1) - 1).max() < 1e-5
    assert not vectors[sorted(tokenizer.special_ids)].any() and not vectors[tokenizer.ids(["%"])[0]].any()
    assert np.array_equal(pair_vectors(pairs, tokenizer, 8, seed=0), vectors)
    assert pair_vectors(pairs[:5], tokenizer, 8, seed=0).shape == (
        tokenizer.size,
        5,
    )  # five pairs have no more directions

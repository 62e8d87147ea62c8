import shutil

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tiny import DATA, silent

from minilm.errors import InputError
from minilm.text import prepare as preparing
from minilm.text.prepare import check_parts, held_out_documents, prepare, read_documents, write_texts

SENTENCES = st.lists(st.text(alphabet="ab .", max_size=6), max_size=4)


def lines(documents):
    """The documents as they are written: with normalised spaces and without empty lines."""
    return [[" ".join(s.split()) for s in document if s.strip()] for document in documents]


@settings(max_examples=60)
@given(documents=st.lists(SENTENCES, min_size=2, max_size=9), held_out=st.integers(1, 5), seed=st.integers(0, 5))
def test_every_sentence_is_in_one_of_the_two_parts(documents, held_out, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    try:
        write_texts(iter(documents), held_out, seed, folder)
    except InputError:
        return
    chosen = set(held_out_documents(len(documents), held_out, seed).tolist())
    wanted = lines(documents)
    assert list(read_documents(folder / "train.txt")) == [d for i, d in enumerate(wanted) if i not in chosen]
    assert list(read_documents(folder / "held_out.txt")) == [wanted[i] for i in sorted(chosen)]
    assert 1 <= len(chosen) <= max(1, len(documents) // 5) and len(chosen) <= held_out


@pytest.mark.parametrize(("sentences", "asked", "held"), [(6, 9, 3), (40, 100, 8), (40, 5, 5), (40, 1, 3)])
def test_a_single_document_gives_its_end(sentences, asked, held, tmp_path):
    document = [f"sentence {i} ." for i in range(sentences)]
    write_texts(iter([document]), asked, 0, tmp_path)
    assert list(read_documents(tmp_path / "train.txt")) == [document[:-held]]
    assert list(read_documents(tmp_path / "held_out.txt")) == [document[-held:]]


def test_F26_both_parts_must_give_pairs():
    check_parts([2, 1, 2, 1], {0, 1}, "x")
    check_parts([3, 3], {1}, "x")
    for sizes, chosen, what in [
        ([1, 1, 1, 2, 2], {3, 4}, "training part of x (3 sentence(s) in 3 document(s))"),
        ([2, 2, 1, 1], {2, 3}, "held-out part of x (2 sentence(s) in 2 document(s))"),
        ([2, 2, 2], {0}, "held-out part of x (2 sentence(s) in 1 document(s))"),
        ([2, 3], {1}, "training part of x (2 sentence(s) in 1 document(s))"),
        ([], set(), "training part of x (0 sentence(s)"),
    ]:
        with pytest.raises(InputError) as refused:
            check_parts(sizes, chosen, "x")
        assert what in str(refused.value)


def test_without_pairs_both_parts_need_a_sentence():
    check_parts([1, 1], {1}, "x", pairs=False)
    with pytest.raises(InputError, match="nothing is left for the training part of x .0 sentence"):
        check_parts([0, 2], {1}, "x", pairs=False)
    with pytest.raises(InputError, match="nothing is left for the held-out part of x"):
        check_parts([2, 0], {1}, "x", pairs=False)


def test_the_held_out_documents_depend_on_the_seed_alone():
    first, again, other = (held_out_documents(100, 12, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert len(first) == len(set(first.tolist())) == 12 and first.max() < 100
    assert len(held_out_documents(100, 4000, 0)) == 20


@pytest.fixture
def ready(tmp_path):
    def make(name=DATA / "english.txt", **changes):
        given = dict(vocab_size=200, held_out=2, say=silent)
        return prepare(str(name), tmp_path / "cache", **given | changes)

    return make


def test_other_settings_are_another_folder_and_the_same_ones_the_same(ready):
    first = ready()
    assert ready().folder == first.folder
    changes = [dict(vocab_size=150), dict(units="characters"), dict(lowercase=False), dict(held_out=1), dict(seed=1)]
    others = [ready(**change).folder for change in [*changes, dict(strip_accents=False), dict(strip_accents=True)]]
    others.append(ready(tokenizer=first.tokenizer).folder)
    assert len({first.folder, *others}) == 9


def test_a_preparation_that_was_broken_off_is_done_again(ready, monkeypatch):
    real = preparing.write_store

    def broken(documents, tokenizer, folder, *rest):
        if folder.name == "held_out":
            raise OSError(28, "No space left on device")
        return real(documents, tokenizer, folder, *rest)

    monkeypatch.setattr(preparing, "write_store", broken)
    with pytest.raises(OSError):
        ready()
    monkeypatch.setattr(preparing, "write_store", real)
    prepared = ready()
    assert prepared.held_out.tokens and (prepared.folder / "prepared.json").exists()


@pytest.mark.parametrize("file", ["train/ids.raw", "held_out/store.json", "tokenizer.json"])
def test_a_damaged_cache_names_the_folder_to_delete(file, ready):
    folder = ready().folder
    (folder / file).write_bytes(b"")
    with pytest.raises(InputError) as caught:
        ready()
    assert str(caught.value).endswith(f"; delete the folder {folder}, and the next run makes it again.")
    shutil.rmtree(folder)
    assert ready().train.tokens


def test_corpora_whose_names_have_points_do_not_wait_for_each_other(ready, tmp_path):
    for name in ("notes.v1.txt", "notes.v2.txt"):
        shutil.copyfile(DATA / "english.txt", tmp_path / name)
        (tmp_path / name).open("a", encoding="utf-8").write(f"{name}\n")
        ready(tmp_path / name)
    cache = tmp_path / "cache"
    folders = set(cache.iterdir())
    assert len(folders) == 2 and {path.parent for path in cache.rglob("*.lock")} == folders


def test_a_folder_of_texts_is_another_corpus_when_one_of_them_changes(ready, tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a.txt", "b.TXT"):
        (folder / name).write_bytes((DATA / "english.txt").read_bytes())
    first = ready(folder)
    assert len(first.train.documents) + len(first.held_out.documents) - 2 == 22
    with open(folder / "b.TXT", "a", encoding="utf-8") as file:
        file.write("One more.\n")
    assert ready(folder).folder != first.folder


def test_a_file_is_the_same_corpus_wherever_it_lies_and_another_one_if_it_is_read_otherwise(
    ready, tmp_path, monkeypatch
):
    text = (DATA / "english.txt").read_bytes()
    (tmp_path / "one" / "deep").mkdir(parents=True)
    for path in ("one/a.txt", "one/deep/a.txt", "b.txt"):
        (tmp_path / path).write_bytes(text)
    first = ready(tmp_path / "one/a.txt")
    monkeypatch.chdir(tmp_path / "one")
    assert {ready(name).folder for name in ("a.txt", "deep/a.txt", "../one/a.txt")} == {first.folder}
    assert preparing.fingerprint(str(tmp_path / "b.txt")) == preparing.fingerprint("a.txt")
    (tmp_path / "a.tsv").write_bytes(text)
    assert preparing.fingerprint(str(tmp_path / "a.tsv")) != preparing.fingerprint("a.txt")


def test_hidden_files_of_a_folder_are_no_part_of_the_corpus(tmp_path):
    (tmp_path / "a.txt").write_text("One.\n", encoding="utf-8")
    before = preparing.fingerprint(str(tmp_path))
    (tmp_path / "._a.txt").write_bytes(b"\0\0")
    assert preparing.fingerprint(str(tmp_path)) == before
    (tmp_path / "b.txt").write_text("", encoding="utf-8")
    assert preparing.fingerprint(str(tmp_path)) != before


@pytest.mark.parametrize("name", ["十万字" * 27 + "一", "a" * 250, "👍" * 60])
def test_a_long_name_makes_a_folder(name, ready, tmp_path):
    path = tmp_path / f"{name}.txt"
    path.write_bytes((DATA / "english.txt").read_bytes())
    assert len(ready(path).folder.name.encode()) < 255 and ready(path).train.tokens


def test_what_was_left_out_is_said_again_when_the_text_is_found_prepared(ready, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes((DATA / "english.txt").read_bytes() + "\n\u200b\n".encode())
    for _ in range(2):
        heard = []
        ready(path, note=heard.append)
        assert len(heard) == 1 and heard[0].startswith("1 line(s) with invisible characters alone")
    heard = []
    ready(note=heard.append)
    assert heard == []


def test_what_is_no_corpus_is_said_before_anything_is_written(tmp_path, ready):
    for name, what in ((tmp_path / "none.txt", "no such file"), ("", "no file called ''")):
        with pytest.raises(InputError, match=what):
            ready(name)
    assert not (tmp_path / "cache").exists()


def test_ids_are_those_of_the_text(ready):
    for units in ("wordpiece", "characters"):
        prepared = ready(units=units)
        text = [s for d in read_documents(prepared.folder / "train.txt") for s in d]
        assert prepared.train.ids.tolist() == [i for row in prepared.tokenizer.ids(text) for i in row]
        assert prepared.tokenizer.size <= 200


@pytest.mark.parametrize(
    ("changes", "message"), [(dict(units="x"), "units 'x'"), (dict(vocab_size=99), "of 99 is too")]
)
def test_what_cannot_be_prepared(changes, message, ready):
    with pytest.raises(InputError, match=message):
        ready(**changes)

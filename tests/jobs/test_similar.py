import numpy as np
import pytest
import tiny
from tiny import DATA, command, silent

from minilm.errors import InputError
from minilm.jobs import similar as module
from minilm.jobs.pretrain import pretrain
from minilm.jobs.similar import Hit, SimilarOptions, lines_of, similar
from minilm.pretrained.protocol import open_encoder
from minilm.training.inference import sentence_vectors

LINES = ["the hen is white", "a dog barks", "the dog sees the hen", "she opens the door", "a dog barks", "it rains"]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("similar"), steps=2)
    pretrain(options, silent)
    return options.out


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join([*LINES[:3], "", "  " + LINES[3] + " ", *LINES[4:]]), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_the_nearest_lines_come_first_each_once_in_whatever_blocks(block, book, file, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    queries = ("a dog barks", "rain")
    found = similar(SimilarOptions(queries, file, book, top=3), silent)
    loaded = open_encoder(book)
    lines, wanted = (sentence_vectors(loaded.model, loaded.tokenizer, list(texts)) for texts in (LINES, queries))
    for hits, cosines in zip(found, wanted @ lines.T, strict=True):
        order = [i for i in np.argsort(-cosines, kind="stable") if i != 4][:3]  # line 5 repeats line 2
        assert [hit.number for hit in hits] == [i + 1 for i in order]
        assert [hit.line for hit in hits] == [LINES[i] for i in order]
        np.testing.assert_allclose([hit.cosine for hit in hits], cosines[order], atol=1e-6)
    assert found[0][0] == Hit(pytest.approx(1, abs=1e-6), "a dog barks", 2)


def test_a_model_that_says_nothing_about_sentences_is_said(book, file):
    said = []
    similar(SimilarOptions(("hen",), file, book), said.append)
    assert (
        said[0]
        == f"note: {book} does not say how a text becomes a vector (no modules.json): it is the mean of its tokens."
    )


def test_more_are_asked_for_than_there_are_and_a_file_of_columns(book, file):
    assert len(similar(SimilarOptions(("hen",), file, book, top=99), silent)[0]) == 5
    (hits,) = similar(SimilarOptions(("a fine film",), str(DATA / "reviews.csv"), book, top=2, truncate=True), silent)
    assert len(hits) == 2 and all(hit.line in set(lines_of(str(DATA / "reviews.csv"))) for hit in hits)


def test_what_cannot_be_searched_is_said(book, file, tmp_path):
    for nothing in ((), (" ",), ("hen", "\u200b")):  # the answers are as many as the queries, so none is left out
        with pytest.raises(InputError, match="there is nothing to look for"):
            similar(SimilarOptions(nothing, file, book), silent)
    with pytest.raises(InputError, match="top must be at least 1, not 0"):
        SimilarOptions(("a",), file, book, top=0)
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(InputError, match="empty.txt has no line to compare with"):
        similar(SimilarOptions(("a",), str(tmp_path / "empty.txt"), book), silent)
    (tmp_path / "long.txt").write_text("hen\n" + "hen " * 60, encoding="utf-8")
    with pytest.raises(InputError, match=r"text 2 of lines 1 to 2 of .*long\.txt has \d+ tokens"):
        similar(SimilarOptions(("a",), str(tmp_path / "long.txt"), book), silent)


def test_the_command_with_the_published_model(file, capsys):
    assert command("similar", "wet weather", "--file", file, "--top", "1") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "wet weather" and said[1].endswith("it rains") and 0.3 < float(said[1].split()[0]) < 1
    assert command("similar", "wet", "--file", file, "--model", "nowhere") == 2
    assert "nowhere is not a run folder" in capsys.readouterr().err

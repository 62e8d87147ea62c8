"""The corpus `movielens`: films, and who liked which, in which order."""

import pytest

from minilm.errors import InputError
from minilm.text import corpus
from minilm.text.ratings import Film, likes_of

ITEMS = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
ITEMS += "7\tNet, The\t1995\tThriller Sci-Fi\n8\tIt\t\tunknown\n9\tNet, The\t1995\tThriller\n"
RATINGS = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def likes(folder, ratings, items=ITEMS, **how):
    paths = folder / "a.item", folder / "a.inter"
    for path, text in zip(paths, (items, RATINGS + ratings), strict=True):
        path.write_text(text, encoding="utf-8")
    return likes_of(*paths, **how)


def test_a_like_is_a_good_rating_and_the_earliest_stands_first(tmp_path):
    heard = []
    found = likes(tmp_path, "u\t8\t5\t30\nu\t7\t4\t10\nw\t7\t3\t1\nu\t9\t5\t50\n", note=heard.append)
    assert found.films == [Film("The Net", "1995", ("Thriller", "Sci-Fi")), Film("It", "", ())]
    assert found.people == [[0, 1]]  # film 9 is film 7, which u liked before; w liked nothing
    assert heard == ["1 of 3 films stand in the list twice, with title and year, and count as one."]
    assert [film.text for film in found.films] == ["The Net (1995): thriller, sci-fi", "It"]


@pytest.mark.parametrize(
    ("ratings", "items", "message"),
    [
        ("u\t99\t5\t1\n", ITEMS, "rates film 99, which is not in"),
        ("u\t7\tgood\t1\n", ITEMS, "a rating or a time that is no number: good, 1"),
        ("u\t7\t5\t1\n", "name\nIt\n", "needs rows with the columns item_id:token, movie_title"),
    ],
)
def test_a_wrong_file_is_refused(ratings, items, message, tmp_path):
    with pytest.raises(InputError, match=message):
        likes(tmp_path, ratings, items)


def test_the_corpus_is_what_is_said_of_it():
    found = corpus.likes()
    assert len(found.films) == 1_664 and len(found.people) == 942
    assert all(len(set(each)) == len(each) for each in found.people)
    with pytest.raises(InputError, match="'movielens' has no documents: minilm recommend uses it"):
        corpus.documents("movielens")

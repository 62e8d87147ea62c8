"""Films, and who liked which of them: the corpus `movielens`, the ratings ML-100K that the package `recbole` carries.

Source:  Harper and Konstan (2015), The MovieLens Datasets: History and Context.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.files import text_lines

UNKNOWN = "unknown"  # what the list says of films without a genre
FOLDER = "dataset_example/ml-100k/ml-100k"
FILES = {
    f"{FOLDER}.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    f"{FOLDER}.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}


@dataclass(frozen=True)
class Film:
    """A film: its title, the year in which it was released ("" if unknown), and its tags, which are its genres."""

    title: str
    year: str
    tags: tuple[str, ...]

    @property
    def text(self) -> str:
        """What a model reads of it, as in "Toy Story (1995): animation, comedy"."""
        year, tags = f" ({self.year})" if self.year else "", ", ".join(tag.lower() for tag in self.tags)
        return f"{self.title}{year}: {tags}" if tags else f"{self.title}{year}"


@dataclass(frozen=True)
class Likes:
    """`films`, and for each person the numbers of the films that they liked, the earliest first."""

    films: list[Film]
    people: list[list[int]]


def likes_of(items: Path, ratings: Path, at_least: float = 4.0, note: Note = unheard) -> Likes:
    """The films of one file and the likes of the other: a rating of `at_least` is a like.

    A film that stands in the list twice, with the same title and year, is one, and `note` hears how many there are. Likes of the
    same second keep the order of the file, and who likes a film twice likes it once, at first. People who liked nothing are not
    in the result. Raises InputError for a file without the columns, a rating that is no number, or a rating of a film that is
    not in the list.
    """
    films: list[Film] = []
    number: dict[str, int] = {}
    place: dict[tuple[str, str], int] = {}
    rows = table(items, ("item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"))
    for name, title, year, tags in rows:
        number[name] = place.setdefault((title, year), len(films))
        if number[name] == len(films):
            films.append(Film(article_first(title), year, tuple(tag for tag in tags.split() if tag != UNKNOWN)))
    if len(films) < len(rows):
        note(
            f"{len(rows) - len(films)} of {len(rows):,} films stand in the list twice, with title and year, and count as one."
        )
    found: dict[str, list[tuple[float, int]]] = {}
    for person, film, stars, time in table(
        ratings, ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    ):
        if film not in number:
            raise InputError(f"{ratings} rates film {film}, which is not in {items}.")
        try:
            liked, when = float(stars) >= at_least, float(time)
        except ValueError:
            raise InputError(f"{ratings} has a rating or a time that is no number: {stars}, {time}.") from None
        if liked:
            found.setdefault(person, []).append((when, number[film]))
    ordered = (sorted(each, key=lambda pair: pair[0]) for each in found.values())
    return Likes(films, [list(dict.fromkeys(film for _, film in each)) for each in ordered])


def article_first(title: str) -> str:
    """ "The Net" for "Net, The", as a list of films puts the article last."""
    name, comma, article = title.rpartition(", ")
    return f"{article} {name}" if comma and article in ("The", "A", "An") else title


def table(path: Path, columns: tuple[str, ...]) -> list[list[str]]:
    """The rows of a file of tab-separated columns, these columns only. Raises InputError if one is missing."""
    rows = list(csv.DictReader(text_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or any(column not in rows[0] for column in columns):
        raise InputError(f"{path} needs rows with the columns {', '.join(columns)}, separated by tabs.")
    return [[row[column] or "" for column in columns] for row in rows]

"""`minilm explore RUN --text "…"`: one HTML file that shows what a model makes of a text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from minilm.errors import InputError
from minilm.explorer.document import data_of, page_of
from minilm.explorer.subject import MASK, open_subject, plural
from minilm.files.atomic import write_text
from minilm.files.notes import Notes, aside
from minilm.text.remarks import remark


@dataclass(frozen=True)
class ExploreOptions:
    """Write one page that shows a model at work on texts of yours: what it guesses for each word after every layer, where every
    head looks, what it answers and why, how it writes, and how it was trained.

    The page is a single file that needs no network and no Python: open it in a browser, or send it to somebody.
    """

    run: tyro.conf.Positional[Path]
    """The folder of a model, a published model by name, or the folder of an experiment of the emergence lab."""
    text: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The text to show; with several (--text A --text B), the page lets you choose. [MASK] hides a word from a pretrained BERT."""
    pair: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """The second text, for a model that reads two; one for each --text."""
    out: Path = Path("explorer.html")
    """The page. An older one of this name is replaced."""


def explore(options: ExploreOptions, say: Callable[[str], None] = print) -> Path:
    """Write the page and return where it is. Raises InputError as `open_subject` and `data_of` do."""
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder: give --out the name of a page, such as explorer.html.")
    notes = Notes(aside if say is print else say)
    subject = open_subject(options.run, notes)
    data = data_of(subject, options.text, options.pair)
    if subject.loaded is not None:
        given = (*options.text, *options.pair)
        read = [text.replace(MASK, " ") for text in given] if subject.guesses else given  # where [MASK] is the mask
        remark(subject.tokenizer, read, "your text", notes)
    page = page_of(data)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, page)
    views = len(data["run"]["views"]) + max((len(text["views"]) for text in data["texts"]), default=0)
    size = f"{len(page.encode()) / 1e6:.1f} MB"
    say(f"{options.out} shows {plural(views, 'view')} of {subject.name} ({size}). Open it in a browser.")
    for title, why in [*(data["texts"][0]["absent"] if data["texts"] else []), *data["run"]["absent"]]:
        say(f"    without “{title}”: {why}")
    return options.out

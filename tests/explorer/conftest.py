"""Tiny models of every kind, trained once for all tests of this folder."""

import pytest
import tiny
from tiny import DATA

from minilm.explorer.subject import open_subject


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A folder with runs: `book` and `zeitung` (BERTs), `writer` and `bytes` (GPTs), `lstm` (an LSTM that writes), `texts`,
    `prompts` (with learned prompts in front of every text), `pairs` and `names`."""
    home = tmp_path_factory.mktemp("explorer")
    for name, changes in {
        "book": dict(steps=4, length=120, watch="a [MASK] hen .", heads=2, layers=3, width=8),
        "zeitung": dict(steps=2, corpus=DATA / "chinese.txt", units="characters"),
        "writer": dict(steps=4, architecture="gpt", heads=2, width=8),
        "bytes": dict(
            steps=2, architecture="gpt", units="bytes", vocab_size=400, heads=2, width=8, positions="learned"
        ),
        "lstm": dict(steps=2, architecture="lstm", heads=None),
    }.items():
        assert tiny.command("pretrain", *tiny.arguments(home, out=home / name, **changes)) == 0
    for name, how in {
        "texts": ("--data", DATA / "reviews.csv", "--model", home / "book", "--truncate"),
        "prompts": ("--data", DATA / "reviews.csv", "--model", home / "book", "--truncate", "--tune", "prompts"),
        "pairs": ("--data", DATA / "pairs.csv", "--model", home / "book", "--pair-column", "pair", "--truncate"),
        "names": ("--data", DATA / "entities-zh.conll", "--model", home / "zeitung", "--crf"),
    }.items():
        command = ("finetune", *how, "--out", home / name, "--recipe.epochs", 1, "--no-progress")
        assert tiny.command(*command) == 0
    return home


@pytest.fixture(scope="session")
def subjects(runs):
    return {path.name: open_subject(path) for path in runs.iterdir() if path.name != "cache"}

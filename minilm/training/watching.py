"""Watching a model learn: what it guesses for a few masked sentences, each time it is measured.  F25.

<run>/watched.jsonl   one line per measurement and [MASK]: {"step", "text", "mask", "guesses": [[token, probability], …]}
"""

import json
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from minilm.errors import InputError
from minilm.files.atomic import write_text
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import fill

FILE = "watched.jsonl"
GUESSES = 5


class Watcher:
    """Writes the best guesses of `model` for every [MASK] in `sentences` to the run folder `out`, whenever it is called.

    Raises InputError for a sentence without [MASK] or one that is too long, before anything is trained.
    """

    def __init__(self, out: Path, sentences: Sequence[str], model: nn.Module, tokenizer: Tokenizer):
        self.out, self.sentences, self.model, self.tokenizer = out, tuple(sentences), model, tokenizer
        self.guesses()  # complains now rather than at the first measurement

    def guesses(self) -> list[dict]:
        """The best guesses for every [MASK], with the model as it is now. It is left as it was, training or not."""
        training = self.model.training
        self.model.eval()
        rows = [
            {"text": text, "mask": number, "guesses": [[token, round(p, 4)] for token, p in best]}
            for text in self.sentences
            for number, best in enumerate(fill(self.model, self.tokenizer, text, GUESSES), start=1)
        ]
        self.model.train(training)
        return rows

    def __call__(self, measured: dict) -> None:
        """Add the guesses of this measurement. Those of the same or a later step are from a run that was stopped and has now
        come here again, and are replaced."""
        if self.sentences:
            step = measured["step"]
            rows = [row for row in read_watched(self.out) if row["step"] < step]
            rows += [{"step": step} | row for row in self.guesses()]
            write_text(self.out / FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_watched(run: Path) -> list[dict]:
    """The rows of a run folder, the oldest first; a last line that a full disk cut in half is left out.

    Raises InputError, with its number, for any other line that is no row.
    """
    path = run / FILE
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [row_in(path, number, line) for number, line in enumerate(lines, 1) if line.endswith(b"\n")]


def row_in(path: Path, number: int, line: bytes) -> dict:
    """One line as a row."""
    try:
        row = json.loads(line)
        if (
            isinstance(row["step"], int)
            and isinstance(row["text"], str)
            and isinstance(row["guesses"], list)
            and "mask" in row
        ):
            return row
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise InputError(f"{path}, line {number} is damaged: it is not what was watched; delete the line.")

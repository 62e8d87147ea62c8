"""Each document's table of §5.4 and what the program gives when it is put right: the same rows, the same columns.  F30."""

from collections.abc import Sequence
from textwrap import shorten

import numpy as np

from minilm.experiments.documents.page import Table
from minilm.experiments.documents.printed_tables import D0_ACCURACY, D1_ROWS, D2_TABLE, D3_LOSSES, D4_ROWS
from minilm.experiments.table import over_seeds
from minilm.training.entity_report import MACRO, MICRO, WEIGHTED

AVERAGE = {
    "micro avg": MICRO,
    "macro avg": MACRO,
    "weighted avg": WEIGHTED,
}  # what scikit-learn prints → what our report says
NONE = "–"
LONGEST_TURN = 160  # characters


def accuracy_table(records: list[dict]) -> Table:
    """D0 §5.4: one row, one figure."""
    here = over_seeds([record["accuracy"] for record in records])
    return Table(["", "printed", "here"], [["Accuracy", f"{D0_ACCURACY:.2f}", here]])


def next_token_table(records: list[dict]) -> Table:
    """D1 §5.4: two rows, which the document prints without figures; beside ours, what training as it is printed gives."""
    (record,) = records
    ways = ("", "printed_", "frequency_")
    rows = [
        [name, NONE, *(f"{record[way + figure]:.3f}" for way in ways)]
        for name, figure in zip(D1_ROWS, ("loss", "accuracy"), strict=True)
    ]
    return Table(["", "printed", "here", "trained as printed", "frequencies alone"], rows)


def loss_table(records: list[dict]) -> Table:
    """D3 §5.4: the loss of both parts after each epoch."""
    losses = np.array([record["losses"] for record in records])  # [seeds, epochs, 2]
    rows = []
    for epoch, printed in enumerate(D3_LOSSES):
        cells = [cell for k in (0, 1) for cell in (f"{printed[k]:.3f}", over_seeds(losses[:, epoch, k].tolist()))]
        rows.append([f"Epoch {epoch + 1}", *cells])
    return Table(["", "train loss: printed", "here", "dev loss: printed", "here"], rows)


HEAD = [
    cell for name in ("precision", "recall", "f1-score", "support") for cell in (f"{name}: printed", f"{name}: here")
]


def report_table(printed: Sequence[tuple], found: dict[str, list]) -> Table:
    """A classification report beside the printed one. `found` has [precision, recall, F1, support] for the rows that are there;
    a dash stands where the data has no such row, or where a figure is 0 divided by 0."""
    rows = []
    for name, *figures, support in printed:
        mine = found.get(name, [None] * 4)
        pairs = [
            cell
            for p, h in zip(figures, mine[:3], strict=True)
            for cell in (f"{p:.3f}", NONE if h is None else f"{h:.3f}")
        ]
        rows.append([name, *pairs, f"{support:,}", NONE if mine[3] is None else f"{mine[3]:,}"])
    return Table(["", *HEAD], rows)


def means(reports: Sequence[Sequence[Sequence]]) -> dict[str, list]:
    """The rows of several seeds' reports by name, as means over the seeds; None counts as 0, unless all are None."""
    found: dict[str, list[Sequence]] = {}
    for rows in reports:
        for name, *figures in rows:
            found.setdefault(name, []).append(figures)
    out: dict[str, list] = {}
    for name, each in found.items():
        columns = list(zip(*each, strict=True))
        figures = [
            None if not any(v is not None for v in column) else float(np.mean([v or 0.0 for v in column]))
            for column in columns[:3]
        ]
        out[name] = [*figures, columns[3][0]]
    return {printed: out[name] for printed, name in AVERAGE.items() if name in out} | out


def tag_table(records: list[dict]) -> Table:
    """D4 §5.4: a row for every tag, and three averages."""
    return report_table(D4_ROWS, means([record["rows"] for record in records]))


def dialogue_table(records: list[dict]) -> Table:
    """D2 §5.4: rows of entity tags, which a conversation does not have, and two averages, which its tokens have."""
    found = means([record["rows"] for record in records])
    return report_table(D2_TABLE, {name: found[name] for name in ("macro avg", "weighted avg")})


def token_table(records: list[dict]) -> Table:
    """The rows that the report of D2's program has: the most frequent tokens of the answers."""
    (record,) = records
    rows = []
    for name, *figures, support in record["rows"]:
        if name not in AVERAGE.values():
            rows.append([f"`{name}`", *(NONE if v is None else f"{v:.3f}" for v in figures), f"{support:,}"])
    return Table(["token", "precision", "recall", "f1-score", "support"], rows)


def answer_table(records: list[dict]) -> Table:
    """What was said, what a person answered, and what the model answers; long turns are cut."""
    (record,) = records
    rows = [[shorten(cell, LONGEST_TURN, placeholder=" …") for cell in row] for row in record["written"]]
    return Table(["what was said", "a person's answer", "the model's answer"], rows, prose=True)

"""The tables of `minilm trust`: means over the seeds, with intervals over the texts."""

from collections.abc import Callable, Iterable

import numpy as np

from minilm.experiments.intervals import Estimate, estimate
from minilm.experiments.trust_measures import CLEAN, MOST, NEGATED, PLAIN, SENTENCES, WHOLE
from minilm.training.explain import deletion_score

HALF = 0.5  # the model's answer is another one when the P of the first falls below this (of two classes)


def report_of(rows: list[dict]) -> tuple[str, dict]:
    """The report, and the figures behind it: explanation, bias, robustness."""
    figures = {
        "explanation": explanation(rows),
        "bias": bias(rows),
        "masked words": masked(rows),
        "robustness": robustness(rows) + transfer(rows),
    }
    seeds = {name: sum(row["weights"] == name and row["kind"] == "sentences" for row in rows) for name in names(rows)}
    parts = [
        "# What may a model be trusted with?",
        "Seeds: "
        + ", ".join(f"{name} weights {count}" for name, count in seeds.items())
        + ". In brackets: the 95 % interval "
        "over the texts (bootstrap); behind ±: the standard deviation between the seeds.",
        "## Explanations, by the deletion test",
        table_of(
            (
                "weights",
                "method",
                "P falls after 1 word",
                f"P falls, mean of 1 to {MOST}",
                f"other answer after {MOST}",
            ),
            [
                (r["weights"], r["method"], *map(written, (r["first"], r["mean"], r["flipped"])))
                for r in figures["explanation"]
            ],
        ),
        "## Bias: words exchanged",
        table_of(
            ("weights", "words", "sentences", "tuning", "shift of the log-odds", "size of the change", "other answer"),
            [
                (
                    r["weights"],
                    r["group"],
                    f"{r['sentences']:,}",
                    r["when"],
                    signed(r["shift"]),
                    written(r["size"]),
                    written(r["flipped"]),
                )
                for r in figures["bias"]
            ],
        ),
        "## Bias: masked words guessed",
        table_of(
            ("weights", "words", "sentences", "tuning", "log P(first word) − log P(second word)", "its size"),
            [
                (
                    r["weights"],
                    r["group"],
                    f"{r['sentences']:,}",
                    r["when"],
                    signed(r["preference"]),
                    written(r["size"]),
                )
                for r in figures["masked words"]
            ],
        ),
        "## Robustness: how much accuracy a change costs",
        table_of(
            ("weights", "texts", "accuracy", "drop"),
            [
                (r["weights"], r["change"], written(r["accuracy"]), written(r["drop"]) if r["drop"] else "–")
                for r in figures["robustness"]
            ],
        ),
    ]
    return "\n\n".join(parts), {name: [plain(r) for r in part] for name, part in figures.items()}


def names(rows: list[dict]) -> list[str]:
    """The weights that there are, in order."""
    return list(dict.fromkeys(row["weights"] for row in rows))


def plain(row: dict) -> dict:
    """A row with its estimates as dictionaries, for JSON."""
    return {key: value._asdict() if isinstance(value, Estimate) else value for key, value in row.items()}


def over_seeds(rows: list[dict], name: str, kind: str, values: Callable[[dict], np.ndarray]) -> np.ndarray:
    """`values` of each seed's row, [seeds, texts]."""
    return np.stack([values(row) for row in rows if (row["weights"], row["kind"]) == (name, kind)])


def explanation(rows: list[dict]) -> list[dict]:
    """For each method: how far P falls, and how often the answer becomes another one."""
    out = []
    for name in names(rows):
        mine = [row for row in rows if row["weights"] == name and row["kind"] == "sentences"]
        for method in mine[0]["deletions"] if mine else ():
            curves = np.stack([np.array(row["deletions"][method]) for row in mine])  # [seeds, texts, MOST + 1]
            out.append(
                {
                    "weights": name,
                    "method": method,
                    "first": estimate(curves[..., 0] - curves[..., 1]),
                    "mean": estimate(np.stack([deletion_score(curve) for curve in curves])),
                    "flipped": estimate(curves[..., -1] < HALF),
                }
            )
    return out


def bias(rows: list[dict]) -> list[dict]:
    """For each group of words, before and after all weights were tuned: shift, size of the change, other answers."""
    out = []
    for name in names(rows):
        mine = [row["exchanged"] for row in rows if row["weights"] == name and row["kind"] == "sentences"]
        for group in mine[0]["before"] if mine else ():
            for when in ("before", "after"):
                f = np.stack([np.array(row[when][group]) for row in mine])  # [seeds, sentences, 2]
                shift = f[..., 1] - f[..., 0]
                flipped = (f[..., 0] > 0) != (f[..., 1] > 0)
                estimates = {"shift": estimate(shift), "size": estimate(abs(shift)), "flipped": estimate(flipped)}
                out.append({"weights": name, "group": group, "sentences": f.shape[1], "when": when} | estimates)
    return out


def masked(rows: list[dict]) -> list[dict]:
    """For each group of words, what the model prefers at a masked word before and after all weights were tuned."""
    out = []
    for name in names(rows):
        mine = [row["guessed"] for row in rows if row["weights"] == name and row.get("guessed")]
        for group in mine[0]["before"] if mine else ():
            for when in ("before", "after"):
                f = np.stack([np.array(row[when][group]) for row in mine])  # [seeds, sentences]
                estimates = {"preference": estimate(f), "size": estimate(abs(f))}
                out.append({"weights": name, "group": group, "sentences": f.shape[1], "when": when} | estimates)
    return out


def bits(text: str) -> np.ndarray:
    """The ones and zeros of `trust_measures.right` as numbers."""
    return np.array([digit == "1" for digit in text], dtype=float)


def robustness(rows: list[dict]) -> list[dict]:
    """The accuracy after each change, and what it lost; the negated templates are compared with the plain ones."""
    out = []
    for name in names(rows):
        mine = [row["right"] for row in rows if row["weights"] == name and row["kind"] == "sentences"]
        for change in mine[0] if mine else ():
            after = np.stack([bits(row[change]) for row in mine])
            base = {PLAIN: None, CLEAN: None, NEGATED: PLAIN}.get(change, CLEAN)
            lost = None if base is None else estimate(np.stack([bits(row[base]) for row in mine]) - after)
            out.append({"weights": name, "change": change, "accuracy": estimate(after), "drop": lost})
    return out


def transfer(rows: list[dict]) -> list[dict]:
    """Sentences and whole reviews: each model on the other kind of text, compared with the model that learned from it."""
    out = []
    for name in names(rows):
        mine = [row["moved"] for row in rows if row["weights"] == name and row["kind"] == "reviews"]
        for measured in (SENTENCES, WHOLE) if mine else ():
            home = np.stack([bits(row[f"{measured} → {measured}"]) for row in mine])
            for learnt in (measured, SENTENCES if measured == WHOLE else WHOLE):
                there = np.stack([bits(row[f"{learnt} → {measured}"]) for row in mine])
                drop = None if learnt == measured else estimate(home - there)
                facts = {"weights": name, "change": f"{measured}, learnt from {learnt}"}
                out.append(facts | {"accuracy": estimate(there), "drop": drop})
    return out


def written(value: Estimate) -> str:
    """0.123 [0.101, 0.145] ± 0.004"""
    return value.written()


def signed(value: Estimate) -> str:
    """As `written`, with a plus before what is above 0."""
    return value.written("{:+.3f}")


def table_of(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A markdown table with its figures on the right."""
    words = sum(name in ("weights", "method", "words", "texts", "tuning") for name in head)
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * words + "---:|" * (len(head) - words)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])

"""The table of a ladder: means and standard deviations over the seeds, as they are printed."""

import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from minilm.errors import InputError
from minilm.files.tensors import read_json
from minilm.jobs.notebooks import schemes

LOW, HIGH = "low", "high"  # in a row: the borders of the 95 % interval that other test lines would give its score
DATA = Path(__file__).resolve().parents[2] / "data"


def measured(name: str) -> list[dict]:
    """The rows of `ladder.json` from a run of ours, such as "quickstart-en": those behind the table in the README.

    They are in data/results beside the package, or where the wheel put them. Raises InputError if there are none of that name.
    """
    installed = [Path(sysconfig.get_path("data", scheme)) / "share" / "minilm" for scheme in schemes()]
    for folder in (DATA, *installed):
        if (path := folder / "results" / f"{name}.json").is_file():
            return read_json(path, list)
    raise InputError(f"there are no results named '{name}': they are files of data/results.")


def deviation(scores: list[float]) -> float:
    """The standard deviation over the seeds (n − 1)."""
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0


def over_seeds(values: Sequence[float], form: str = "{:.3f}") -> str:
    """The mean over the seeds as tables show it, with the standard deviation behind ± if there are several."""
    return form.format(np.mean(values)) + (f" ± {form}".format(deviation([*values])) if len(values) > 1 else "")


def summarise(rows: list[dict], metric: str) -> list[dict]:
    """One row per model and number of labels, in the order of the table."""
    out = []
    for key in dict.fromkeys((row["model"], row["labels"]) for row in rows):
        same = [row for row in rows if (row["model"], row["labels"]) == key]
        scores = [row[metric] for row in same]
        seconds = float(np.mean([row["seconds"] for row in same]))
        facts = {
            "model": key[0],
            "labels": key[1],
            "mean": float(np.mean(scores)),
            "deviation": deviation(scores),
            "scores": scores,
        }
        bounds = {name: float(np.mean([row[name] for row in same])) for name in (LOW, HIGH) if name in same[0]}
        out.append(facts | {"seconds": seconds, "parameters": same[0]["parameters"]} | bounds)
    return out


def markdown_table(rows: list[dict], metric: str) -> str:
    """The table as it is printed, written to `report.md`, and shown in the README.

    Where rows have an interval, it stands behind the score: of several seeds, the mean of their lower and of their upper borders.
    """
    bounds = any(LOW in row for row in rows)
    titles = ["model", "labels", metric, *["95 % interval"] * bounds, "training", "parameters"]
    lines = [f"| {' | '.join(titles)} |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in summarise(rows, metric):
        score = over_seeds(row["scores"])
        if bounds:
            score += f" | {row[LOW]:.3f}–{row[HIGH]:.3f}" if LOW in row else " | –"
        parameters = f"{row['parameters']:,}" if row["parameters"] else "–"
        lines.append(f"| {row['model']} | {row['labels']:,} | {score} | {row['seconds']:.0f} s | {parameters} |")
    return "\n".join(lines)


def curve_table(rows: list[dict], metric: str) -> str:
    """One row per model and one column per number of labels; ± stands behind a mean of several seeds, a dash where there is none."""
    found = {(row["model"], row["labels"]): row for row in summarise(rows, metric)}
    counts = sorted({labels for _, labels in found})
    lines = [f"| {metric} | {' | '.join(f'{count:,}' for count in counts)} |", "|---|" + "---:|" * len(counts)]
    for model in dict.fromkeys(model for model, _ in found):
        cells = []
        for key in ((model, count) for count in counts):
            cells.append(over_seeds(found[key]["scores"]) if key in found else "–")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def mean_of(rows: list[dict], metric: str, model: str, labels: int) -> float:
    """The mean over the seeds of one model with so many labels."""
    return next(row["mean"] for row in summarise(rows, metric) if (row["model"], row["labels"]) == (model, labels))


def details_table(
    rows: list[dict],
    labels: int,
    names: Sequence[str],
    unit: str = "labels",
    decimals: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """The means over the seeds of further figures, one row per model, as a markdown table; a dash if no seed has the figure.

    A figure has three decimals if `decimals` gives it no other number. With another `unit` than labels, the standard deviation
    over several seeds stands behind each mean.
    """
    lines = [f"| model ({labels:,} {unit}) | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    for model in dict.fromkeys(row["model"] for row in rows if row["labels"] == labels):
        mine = [row for row in rows if (row["model"], row["labels"]) == (model, labels)]
        cells = []
        for name in names:
            found, form = [row[name] for row in mine if name in row], f"{{:.{decimals.get(name, 3)}f}}"
            written = (
                form.format(np.mean(found)) if unit == "labels" and found else over_seeds(found, form) if found else "–"
            )
            cells.append(written)
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figures_table(rows: list[dict], figures: Mapping[str, str], facts: Mapping[str, str] = MappingProxyType({})) -> str:
    """One row per model with the mean and the deviation over the seeds of several figures, as a markdown table.

    `figures` says how each is written, such as {"accuracy": "{:.3f}"}. A dash stands where no seed has the figure. `facts` says
    the same of what is equal for all seeds and stands there once, such as {"bytes": "{:,}"}.
    """
    titles = [*figures, *facts]
    lines = [f"| model | {' | '.join(titles)} | training | parameters |", "|---|" + "---:|" * (len(titles) + 2)]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        cells = []
        for name, form in figures.items():
            found = [row[name] for row in mine if name in row]
            cells.append(over_seeds(found, form) if found else "–")
        cells += [form.format(mine[0][name]) if name in mine[0] else "–" for name, form in facts.items()]
        seconds, parameters = np.mean([row["seconds"] for row in mine]), mine[0]["parameters"]
        lines.append(
            f"| {model} | {' | '.join(cells)} | {seconds:.0f} s | {f'{parameters:,}' if parameters else '–'} |"
        )
    return "\n".join(lines)

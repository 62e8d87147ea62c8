"""What is expected of the loss law, how it is judged, and its picture.  F36."""

from pathlib import Path

import numpy as np

from minilm.experiments.emergence.experiment import Experiment, Prediction, Records, Verdict, listed, of
from minilm.experiments.emergence.scaling import (
    ARM,
    ENTROPY,
    ERROR,
    FLOOR,
    LARGER,
    MEASURED,
    NAIVE,
    PREDICTED,
    SYMBOLS,
    WIDTHS,
    fit,
)
from minilm.viz.rulers import law


def it_is_predicted(records: Records) -> Verdict:
    found = of(records, ARM, ERROR)
    return Verdict(bool((found <= 0.03).all()), listed(100 * found, "{:.1f} %"))


def it_is_better_than_all(records: Records) -> Verdict:
    best = np.array([min(run["loss"] for run in record["runs"]) for record in records])
    measured = of(records, ARM, MEASURED)
    return Verdict(bool((measured < best).all()), f"{listed(measured)}; the best of the forty: {listed(best)}")


def the_law_is_worth_something(records: Records) -> Verdict:
    law_error, naive = of(records, ARM, ERROR), of(records, ARM, NAIVE)
    return Verdict(bool((law_error < naive).all()), f"{listed(100 * naive, '{:.1f} %')} without the law")


def residuals(records: Records) -> np.ndarray:
    """[seeds, 40]: fitted loss / measured loss − 1."""
    return np.array([[run["fitted"] / run["loss"] - 1 for run in record["runs"]] for record in records])


def it_fits(records: Records) -> Verdict:
    found = np.abs(residuals(records)).max(axis=1)
    return Verdict(bool((found <= 0.03).all()), f"the worst of the forty: {listed(100 * found, '{:.1f} %')}")


def it_is_smooth(records: Records) -> Verdict:
    """Whether the loss falls with every step in width and in tokens. A step up by less than half a per cent is noise."""
    ratios = []
    for record in records:
        table = np.array([run["loss"] for run in record["runs"]]).reshape(-1, len(WIDTHS))  # [tokens, widths]
        ratios.append(max((table[1:] / table[:-1]).max(), (table[:, 1:] / table[:, :-1]).max()))
    found = np.array(ratios)
    return Verdict(
        bool((found <= 1.005).all()), f"the worst step of each seed: {listed(100 * (found - 1), '{:+.1f} %')}"
    )


def it_finds_the_entropy(records: Records) -> Verdict:
    found, true = of(records, ARM, FLOOR), of(records, ARM, ENTROPY)
    return Verdict(bool((np.abs(found / true - 1) <= 0.1).all()), f"E = {listed(found)}; true entropy {listed(true)}")


PREDICTIONS = (
    Prediction("The law predicts the loss of the forty-first model to 3 %, with every seed.", it_is_predicted),
    Prediction(
        "The forty-first is better than each of the forty, so that this is no interpolation.", it_is_better_than_all
    ),
    Prediction("The law is nearer than the loss of the best of the forty.", the_law_is_worth_something),
    Prediction("Each of the forty lies within 3 % of the law.", it_fits),
    Prediction("There is no jump: the loss falls with every step in width and in tokens (to 0.5 %).", it_is_smooth),
    Prediction(
        "Control: what the law leaves for infinite sizes, E, is the entropy of the source, to 10 %.",
        it_finds_the_entropy,
    ),
)


def draw(records: Records, folder: Path) -> list[str]:
    """The forty runs of the first seed with their law, and the forty-first."""
    record = records[0]
    runs = [(run["parameters"], run["tokens"], run["loss"], run["fitted"]) for run in record["runs"]]
    larger = (record["larger"]["parameters"], record[MEASURED], record[PREDICTED])
    law(runs, larger, folder / "scaling.png", record[ENTROPY])
    return ["scaling.png"]


SCALING = Experiment(
    name="scaling",
    question="Can the loss of a model be said before it is trained, from forty smaller ones?",
    definition="By scale: what cannot be foreseen from smaller models. No document defines it so. The loss is the counterexample.",
    arms={
        ARM: f"forty models of widths {WIDTHS[0]} to {WIDTHS[-1]} on {SYMBOLS} symbols, and one of width {LARGER[0]} that reads twice "
        "as much"
    },
    predictions=PREDICTIONS,
    fit=fit,
    figures={
        PREDICTED: "{:.3f}",
        MEASURED: "{:.3f}",
        ERROR: "{:.2%}",
        NAIVE: "{:.2%}",
        FLOOR: "{:.3f}",
        ENTROPY: "{:.3f}",
    },
    draw=draw,
    how_to_read=(
        "Losses are in nats per token. *Predicted*: what L(N, D) = E + A/N^α + B/D^β, fitted to the forty, says of the forty-first "
        "before it is trained. *Error*: of this. *Error of the best of forty*: if one said that the forty-first will be as good as "
        "the best of them. *E of the law*: what remains at infinite sizes, which should be the true entropy of the source. The time "
        "is that of all forty-one."
    ),
)

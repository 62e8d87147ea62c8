"""What a pretraining run shows of itself: its measurements, its guesses for sentences that are watched, and the pictures."""

from collections.abc import Callable
from pathlib import Path

from minilm.errors import InputError
from minilm.training.state import read_metrics
from minilm.training.watching import Watcher, read_watched
from minilm.viz import plots
from minilm.viz.strip import strip


def reports(writer: Callable[[dict], None], watcher: Watcher) -> Callable[[dict], None]:
    """One function that hands a measurement to both."""

    def report(measured: dict) -> None:
        writer(measured)
        watcher(measured)

    return report


def draw(run: Path, curves: tuple[str, ...], say: Callable[[str], None]) -> None:
    """Draw pretraining.png, and watched.png if sentences were watched; if no font has their characters, say so instead."""
    plots.pretraining_curves({"this run": read_metrics(run)}, run / "pretraining.png", curves=curves)
    if rows := read_watched(run):
        try:
            strip(rows, run / "watched.png")
        except InputError as error:
            say(f"note: watched.png is not drawn. {error}")

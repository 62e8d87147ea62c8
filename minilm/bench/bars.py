"""What a figure should be at least or at most, and whether it is."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from minilm.bench.report import table


class Bar(NamedTuple):
    """One line of a table of goals: what is measured, beside what, the goal, and what was found in every round."""

    work: str
    against: str
    goal: float
    each: list[float]
    at_most: bool = False
    unit: str = "×"  # or "%", and then the figures are shares, or "s"

    @property
    def found(self) -> float:
        return statistics.median(self.each)

    @property
    def reached(self) -> bool:
        return self.found <= self.goal if self.at_most else self.found >= self.goal

    def written(self) -> dict[str, Any]:
        """For the JSON."""
        return self._asdict() | {"found": self.found, "reached": self.reached}

    def in_units(self, figure: float) -> str:
        return f"{figure:.1%}" if self.unit == "%" else f"{figure:.2f} {self.unit}"


def table_of_bars(bars: Sequence[Bar]) -> str:
    """Work, rival, goal, median with the lowest and the highest, and whether the goal is reached."""
    head = ("", "beside", "goal", "found", "(lowest–highest)", "")
    return table(
        head,
        [
            (
                bar.work,
                bar.against,
                f"{'≤' if bar.at_most else '≥'} {bar.in_units(bar.goal)}",
                bar.in_units(bar.found),
                f"({bar.in_units(min(bar.each))}–{bar.in_units(max(bar.each))})",
                "reached" if bar.reached else "MISSED",
            )
            for bar in bars
        ],
    )

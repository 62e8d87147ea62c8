"""Judge the checks themselves: do they reject what is wrong, accept what is right, and name the mistakes?"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from minilm.exercises.checks import check, decide
from minilm.exercises.plan import plan_of
from minilm.exercises.report import Report
from minilm.exercises.spec import Exercise


@dataclass
class Judgement:
    """The reports by (mistake or style, seed), and what is counted in them."""

    exercise: Exercise
    wrong: dict[tuple[str, int], Report] = field(default_factory=dict)
    right: dict[tuple[str, int], Report] = field(default_factory=dict)

    @property
    def rejected(self) -> int:
        return sum(not report.passed for report in self.wrong.values())

    @property
    def accepted(self) -> int:
        return sum(report.passed for report in self.right.values())

    @property
    def named(self) -> int:
        return sum(self.is_named(key, report) for (key, _), report in self.wrong.items())

    def is_named(self, key: str, report: Report) -> bool:
        """Whether a mistake is named, alone or together with others of its declared family."""
        family = self.exercise.wrong[key].family
        return key in report.named and all(
            other == key or (family and self.exercise.wrong[other].family == family) for other in report.named
        )

    @property
    def lapses(self) -> list[str]:
        """One sentence for each wrong verdict and each wrong name."""
        out = []
        for (key, seed), report in self.wrong.items():
            if report.passed:
                out.append(f"{self.exercise.name}: the mistake {key} passes (seed {seed})")
            elif not self.is_named(key, report):
                called = ", ".join(report.named) or "nothing"
                out.append(f"{self.exercise.name}: the mistake {key} is called {called} (seed {seed})\n{report}")
        for (style, seed), report in self.right.items():
            if not report.passed:
                out.append(f"{self.exercise.name}: the right style '{style}' is refused (seed {seed})\n{report}")
        return out


def judge(exercise: Exercise, seeds: Iterable[int]) -> Judgement:
    """Check every mistake and every right style of the exercise once per seed."""
    judgement = Judgement(exercise)
    for seed in seeds:
        for key in exercise.wrong:
            judgement.wrong[key, seed] = check(exercise, exercise.mistake(key), seed)
        for style, code in exercise.right.items():
            judgement.right[style, seed] = check(exercise, exercise.pieces(code), seed)
    return judgement


def misnamed_pairs(exercise: Exercise, seed: int = 0) -> tuple[int, list[str]]:
    """Make two mistakes at once: the number of pairs tried, and a sentence for each pair that was given a wrong name.

    Pairs that cancel each other out, and pairs that together equal another known mistake, are left out.
    """
    plan, count, out = plan_of(exercise, seed), 0, []
    for pair, work in plan.pairs.items():
        report = decide(plan, work)
        if report.passed or plan.matching(work, plan.compared, plan.singles):
            continue
        count += 1
        families = {exercise.wrong[key].family for key in pair} - {""}
        if any(key not in pair and exercise.wrong[key].family not in families for key in report.named):
            out.append(f"{exercise.name}: {' with '.join(pair)} is called {', '.join(report.named)} (seed {seed})")
    return count, out

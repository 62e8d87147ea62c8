"""Measure one exercise: what it rejects, accepts and names, and which mutants of its reference it lets pass."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from minilm.exercises.catalogue import entries
from minilm.exercises.checks import check
from minilm.exercises.learner import Endless, limited
from minilm.exercises.plan import plan_of, worker
from minilm.exercises.quality.judge import judge, misnamed_pairs
from minilm.exercises.quality.mutants import Mutant, mutants
from minilm.exercises.report import Report
from minilm.exercises.spec import Exercise, Pieces

FRESH = (7001, 7002)  # seeds for one question only: is the name of a mutant right on other inputs, too?
FIRST = 10_000  # the first of the seeds used to look for flakes
PATIENCE = 5.0  # seconds for one mutant; normally it takes a fraction of a second
STAGES = ("mistakes", "styles", "pairs", "mutants", "flakes")
Row = dict[str, Any]
Tick = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """How much is measured. The defaults are the full settings of the published table."""

    seeds: int = 20  # for each mistake
    right_seeds: int = 50  # for each right style
    runs: int = 1000  # of the references, over all exercises; each run has a seed of its own
    every: int = 1  # 5 means every fifth mutant

    @property
    def runs_each(self) -> int:
        return math.ceil(self.runs / len(entries()))


def measure(exercise: Exercise, settings: Settings, tick: Tick = lambda what: None) -> Row:
    """The numbers of one exercise; a pair of numbers is [count, total]. `tick` is told which stage begins."""
    tick("mistakes")
    mistakes = judge(replace(exercise, right={}), range(settings.seeds))
    tick("styles")
    styles = judge(replace(exercise, wrong={}), range(settings.right_seeds))
    tick("pairs")
    pairs, misnamed = misnamed_pairs(exercise)
    tick("mutants")
    mutated = measure_mutants(exercise, settings.every)
    tick("flakes")
    fails, runs = flakes(exercise, settings.runs_each)
    return {
        "exercise": exercise.name,
        "number": exercise.number,
        "wrong": [mistakes.rejected, len(mistakes.wrong)],
        "named": [mistakes.named, len(mistakes.wrong)],
        "right": [styles.accepted, len(styles.right)],
        "misnamed_pairs": [len(misnamed), pairs],
        "misnamed_mutants": [len(mutated["misnamed"]), mutated["killed"]],
        "flakes": [len(fails), runs],
        **{key: mutated[key] for key in ("killed", "named_mutants", "passing")},
        "lapses": mistakes.lapses + styles.lapses + misnamed + mutated["misnamed"] + fails,
    }


def measure_mutants(exercise: Exercise, every: int = 1) -> Row:
    """Which mutants pass, and which of those that fail are given a wrong name."""
    row: Row = {"killed": 0, "passing": [], "misnamed": [], "named_mutants": 0}
    for mutant in islice(mutants(exercise), 0, None, every):
        report = verdict(exercise, mutant)
        if report is not None and report.passed:
            row["passing"].append(mutant.key)
            continue
        row["killed"] += 1
        if report is not None and report.named:
            row["named_mutants"] += 1
            if not holds_on_other_seeds(exercise, mutant, report):
                row["misnamed"].append(f"{exercise.name}: {mutant.key} is called {', '.join(report.named)}")
    return row


def verdict(exercise: Exercise, mutant: Mutant, patience: float = PATIENCE) -> Report | None:
    """The report on a mutant; None if it never ends. On a busy machine, a mutant that is merely slow gets more time."""
    begun = time.process_time()
    try:
        with limited(patience):
            return check(exercise, mutant.pieces, 0)
    except Endless:
        if time.process_time() - begun > PATIENCE / 2:
            return None
        return verdict(exercise, mutant, 4 * patience)


def holds_on_other_seeds(exercise: Exercise, mutant: Mutant, report: Report) -> bool:
    """Whether a mutant also matches the named mistake on inputs from other seeds; if not, the name was a coincidence."""
    for seed in FRESH:
        plan, named = plan_of(exercise, seed), set(report.named)
        work = worker(exercise, mutant.pieces)
        among = {keys: known for keys, known in (plan.singles | plan.pairs).items() if named & set(keys)}
        stages = [plan.compared, [plan.tiny, *plan.probes]][: 2 if report.layer <= 3 else 1]  # as in `diagnose`
        if not any(plan.matching(work, cases, among) for cases in stages):
            return False
    return True


def flakes(exercise: Exercise, runs: int) -> tuple[list[str], int]:
    """Check the reference `runs` times, each time with another seed: one sentence per refusal, and the number of runs."""
    reference: Pieces = plan_of(exercise, 0).reference
    out = []
    for seed in range(FIRST, FIRST + runs):
        report = check(exercise, reference, seed)
        if not report.passed:
            out.append(f"{exercise.name}: the reference is refused (seed {seed})\n{report}")
    return out, runs

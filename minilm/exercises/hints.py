"""The hints: first one that fits the mistake which the last check has found, then the three general ones."""

import numpy as np

from minilm.exercises.checks import different, table
from minilm.exercises.diagnosis import shows
from minilm.exercises.plan import Plan, plan_of
from minilm.exercises.running import Case, Outcome, is_array
from minilm.exercises.spec import Exercise, where


def next_hint(exercise: Exercise, key: str, hinted: str, count: int) -> tuple[list[str], str, int]:
    """The lines of the next hint, and what `hinted` and `count` are after it.

    `key` is the mistake that the last check has found ("" if none), `hinted` the one that the learner was last told about,
    and `count` the number of general hints that were shown. A new mistake comes before the next general hint.
    """
    known = key in exercise.wrong
    fresh = known and key != hinted
    count = count if fresh else min(count + 1, len(exercise.hints))
    lines = about(exercise, key) if known else []
    general = enumerate(exercise.hints[:count], 1)
    lines += [f"{exercise.name}, hint {i} of {len(exercise.hints)}: {text}" for i, text in general]
    section = (exercise.wrong[key].section if fresh else None) or exercise.section
    return [*lines, f"Read: {where(section)}."], key if fresh else hinted, count


def about(exercise: Exercise, key: str) -> list[str]:
    """What is wrong, a question about it, and the smallest input for which the mistake `key` makes a difference."""
    mistake, plan = exercise.wrong[key], plan_of(exercise, 0)
    lines = [f"{exercise.name}, about your last check: {mistake.name}.", f"Think: {mistake.question}"]
    cases = [case for case in (plan.tiny, *plan.probes, *plan.edges) if shows(plan, key, case)]
    return [*lines, *shown(plan, key, min(cases, key=size))] if cases else lines


def shown(plan: Plan, key: str, case: Case) -> list[str]:
    """The case with its inputs and both outputs, or the error that the mistake leads to."""
    exercise, right, wrong = plan.exercise, plan.expected(case), plan.singles[key,](case)
    name = "the tiny example" if case.kind == "tiny" else f"“{case.name}”"
    if wrong.error or not comparable(wrong, right):
        return [f"A small input that shows it is {name}."]
    found = different(exercise, wrong, right, exercise.atol, exercise.rtol)
    rows = table(exercise, case, wrong, right, found[0])
    return [
        f"A small input that shows it is {name}; “yours” is what this mistake makes of it:",
        *(f"  {row}" for row in rows),
    ]


def comparable(a: Outcome, b: Outcome) -> bool:
    return [x.shape for x in a.arrays] == [x.shape for x in b.arrays]


def size(case: Case) -> int:
    """How many numbers the inputs of a case hold."""
    return sum(int(np.prod(value.shape)) if is_array(value) else len(str(value)) for value in case.inputs.values())

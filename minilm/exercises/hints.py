"""A hint that fits the mistake which the last check has found: its question, and a small input that shows it."""

import numpy as np

from minilm.exercises.checks import different, table
from minilm.exercises.diagnosis import shows
from minilm.exercises.plan import Plan, plan_of
from minilm.exercises.running import Case, Outcome, is_array
from minilm.exercises.spec import Exercise


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

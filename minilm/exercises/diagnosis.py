"""Which mistake was made: the known mistakes run on the same inputs, and the one that gives the same numbers is named.

It runs only after a fail, and has no way to change the verdict. A mistake is named only when the learner's outcomes equal
its outcomes on ALL cases and it stands at least `separation` tolerances away from the right answer. Two that match: the
family is named. None: two mistakes at once are tried, where the spec can make them. Else: silence.
"""

from dataclasses import dataclass

import numpy as np

from minilm.exercises.compare import distance
from minilm.exercises.plan import Plan, Work
from minilm.exercises.spec import where


@dataclass(frozen=True)
class Diagnosis:
    """The mistakes (keys of the spec's `wrong`) and the lines that say so."""

    keys: tuple[str, ...]
    lines: tuple[str, ...]
    pair: bool = False


def diagnose(plan: Plan, work: Work, layer: int) -> Diagnosis | None:
    """What was done wrong, or None where no known mistake gives these outcomes.

    A learner may make a known mistake and overlook an edge beside it. So where the example or the probes (layers 1 to 3)
    fail already, and nothing matches everywhere, it is enough to match on all of those.
    """
    stages = [plan.compared]
    if layer <= 3:
        stages.append([plan.tiny, *plan.probes])
    for cases in stages:
        for among in (plan.singles, plan.pairs):
            found = plan.matching(work, cases, among)
            keys = common(found) if among is plan.pairs else tuple(key for keys in found for key in keys)
            if keys:
                pair = among is plan.pairs and len(found) == 1
                return Diagnosis(keys, told(plan, keys, found if among is plan.pairs else [], len(cases)), pair)
    return None


def common(pairs: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Both of one pair; of several pairs that give the same numbers, what they have in common."""
    if len(pairs) < 2:
        return pairs[0] if pairs else ()
    shared = set.intersection(*(set(pair) for pair in pairs))
    return tuple(key for key in pairs[0] if key in shared)


def told(plan: Plan, keys: tuple[str, ...], pairs: list[tuple[str, ...]], count: int) -> tuple[str, ...]:
    """The mistakes in words. `pairs`: those that fit, where it took two mistakes at once."""
    wrong = [plan.exercise.wrong[key] for key in keys]
    names = "; ".join(mistake.name for mistake in wrong)
    start = "two mistakes at once: " if pairs else "one of these, the same numbers here: " if len(keys) > 1 else ""
    if len(pairs) > 1:  # one is sure, and which of several the other is makes no difference here
        others = dict.fromkeys(key for pair in pairs for key in pair if key not in keys)
        names += f"; and {', or '.join(plan.exercise.wrong[key].name for key in others)}"
    evidence = f"[your output equals {'both together' if pairs else 'that variant'} on {count} of {count} inputs]"
    section = wrong[0].section or plan.exercise.section
    return (
        f"Looks like: {start}{names}   {evidence}",
        f"Think: {wrong[0].question}  → {where(section)}",
    )


def separation(plan: Plan) -> tuple[tuple[str, ...], np.ndarray]:
    """The distance of each two of (right, mistake, mistake …), in tolerances: their names, and a symmetric matrix.

    What is below 1 cannot be told apart on these inputs. Gradients by autograd count like values.
    """
    workers = {"right": plan.expected, **{keys[0]: work for keys, work in plan.singles.items()}}
    names = tuple(workers)
    matrix = np.zeros((len(names), len(names)))
    for i, a in enumerate(workers.values()):
        for j, b in enumerate(list(workers.values())[:i]):
            apart = max(distance(plan.exercise, a(case), b(case)) for case in plan.compared)
            matrix[i, j] = matrix[j, i] = apart
    return names, matrix

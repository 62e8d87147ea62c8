"""Find out which mistake was made: run the known mistakes on the same inputs and name the one with the same outcomes.

This happens only after a check has failed, and cannot change the verdict. A mistake is named only if the learner's outcomes
equal its outcomes on ALL cases and it is at least `separation` tolerances away from the right answer. If several mistakes
match, all of them are named. If none does, pairs of mistakes are tried, where the spec can combine them. If no pair matches
either, nothing is said.
"""

from dataclasses import dataclass

import numpy as np

from minilm.exercises.compare import clearly_apart, distance
from minilm.exercises.plan import Plan, Work
from minilm.exercises.running import Case
from minilm.exercises.spec import where


@dataclass(frozen=True)
class Diagnosis:
    """The mistakes (keys of the spec's `wrong`) and the lines that name them. `pair`: both were made at once. `asked` is the
    mistake that the question is about."""

    keys: tuple[str, ...]
    lines: tuple[str, ...]
    pair: bool = False
    asked: str = ""


def diagnose(plan: Plan, work: Work, layer: int, seen: Case | None = None) -> Diagnosis | None:
    """The mistake that was made, or None if no known mistake has these outcomes. `seen` is the case that is shown.

    A learner may make a known mistake and overlook an edge case as well. So if the example or the probes (layers 1 to 3)
    already fail, and no mistake matches everywhere, it is enough to match on all of those.
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
                pairs = found if among is plan.pairs else []
                keys = tuple(sorted(keys, key=lambda key: not shows(plan, key, seen)))
                others = [key for each in pairs for key in each]
                asked = next((key for key in [*keys, *others] if shows(plan, key, seen)), keys[0])
                return Diagnosis(keys, in_words(plan, keys, pairs, len(cases), asked), pair, asked)
    return None


def common(pairs: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Both mistakes of a single pair; of several pairs that give the same numbers, only what they have in common."""
    if len(pairs) < 2:
        return pairs[0] if pairs else ()
    shared = set.intersection(*(set(pair) for pair in pairs))
    return tuple(key for key in pairs[0] if key in shared)


def in_words(
    plan: Plan, keys: tuple[str, ...], pairs: list[tuple[str, ...]], count: int, asked: str
) -> tuple[str, ...]:
    """The mistakes in words. `pairs`: the pairs that match, if it took two mistakes at once. The question is about the one
    that the learner sees: `asked`."""
    wrong = [plan.exercise.wrong[key] for key in keys]
    names = "; ".join(mistake.name for mistake in wrong)
    several = "one of these, which give the same numbers here: " if len(keys) > 1 else ""
    start = "two mistakes at once: " if pairs else several
    if len(pairs) > 1:  # one mistake is certain; the other is one of several that make no difference here
        others = dict.fromkeys(key for pair in pairs for key in pair if key not in keys)
        names += f"; and {', or '.join(plan.exercise.wrong[key].name for key in others)}"
    evidence = f"[your output matches {'both together' if pairs else 'this mistake'} on {count} of {count} inputs]"
    section = plan.exercise.wrong[asked].section or plan.exercise.section
    return (
        f"Looks like: {start}{names}   {evidence}",
        f"Think: {plan.exercise.wrong[asked].question}  → {where(section)}",
    )


def shows(plan: Plan, key: str, seen: Case | None) -> bool:
    """Whether a mistake, made alone, changes the outcome of the case that the learner sees."""
    return seen is not None and clearly_apart(plan.exercise, plan.singles[key,](seen), plan.right_answer(seen))


def separation(plan: Plan) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of (right, mistake, mistake …) and the symmetric matrix of the distances between them, in tolerances.

    Two of them with a distance below 1 cannot be told apart on these inputs. Gradients by autograd count like values.
    """
    workers = {"right": plan.expected, **{keys[0]: work for keys, work in plan.singles.items()}}
    names = tuple(workers)
    matrix = np.zeros((len(names), len(names)))
    for i, a in enumerate(workers.values()):
        for j, b in enumerate(list(workers.values())[:i]):
            apart = max(distance(plan.exercise, a(case), b(case)) for case in plan.compared)
            matrix[i, j] = matrix[j, i] = apart
    return names, matrix

"""The checks come in layers, from the cheapest to the hardest; the first layer that fails is the one that is reported.

1 shape and type · 2 the tiny example, printed whole · 3 probes · 4 properties · 5 gradients by finite differences · 6 edge
cases · 7 side effects. (Layer 0, import and signature, is in `learner.py`.) A layer only sees outcomes, which are arrays; it
never sees the learner's code.
"""

import numpy as np

from minilm.exercises import compare
from minilm.exercises.diagnosis import diagnose
from minilm.exercises.plan import Plan, Work, plan_of, worker
from minilm.exercises.report import LAYERS, Problem, Report
from minilm.exercises.running import Case, Outcome, Output, is_array
from minilm.exercises.spec import Exercise, Pieces


def check(exercise: Exercise, pieces: Pieces, seed: int = 0) -> Report:
    """Run all checks on `pieces`. The diagnosis comes after the verdict and cannot change it."""
    return decide(plan_of(exercise, seed), worker(exercise, pieces))


def decide(plan: Plan, work: Work) -> Report:
    """The verdict on the outcomes that `work` returns for the cases of the plan; they may come from another process."""
    name = plan.exercise.name
    for layer in (still_a_stub, shapes, tiny_example, values, properties, gradients, edges, side_effects):
        if problem := layer(plan, work):
            found = None if problem.explained else diagnose(plan, work, problem.layer)
            lines, named, pair = (found.lines, found.keys, found.pair) if found else ((), (), False)
            return Report(name, False, problem.layer, problem.lines + lines, named, pair, problem.title)
    cases = len(plan.compared) + sum(len(group) for group in plan.properties.values())
    return Report(name, True, len(LAYERS) - 1, (f"all layers, {cases} cases",))


def still_a_stub(plan: Plan, work: Work) -> Problem | None:
    """The last question of layer 0: is the file still the unchanged stub?"""
    if not work(plan.tiny).error.startswith("NotImplementedError"):
        return None
    lines = ("`raise NotImplementedError` is still there: write your code in its place.",)
    return Problem(0, lines, explained=True, title="not written yet")


def shapes(plan: Plan, work: Work) -> Problem | None:
    for case in (plan.tiny, *plan.probes):
        yours, right = work(case), plan.expected(case)
        if yours.error:
            return stopped(1, case, yours)
        if lines := differs_in_kind(plan.exercise, yours, right):
            return Problem(1, (*lines, describe(case)))
    return None


def differs_in_kind(exercise: Exercise, yours: Outcome, right: Outcome) -> list[str]:
    """What is wrong with the number, shape or type of the outputs; empty if nothing is."""
    names, count = ", ".join(right.outputs), len(yours.outputs)
    if [output.kind for output in yours.outputs.values()] == ["None"]:
        return [f"your function returns nothing, expected {names}: did you forget the `return`?"]
    if count != len(right.outputs):
        return [f"your function returns {count} output{'s' * (count != 1)}, expected {len(right.outputs)}: {names}"]
    for (name, got), wanted in zip(yours.outputs.items(), right.outputs.values()):
        name = name if len(right.outputs) == 1 else list(right.outputs)[list(yours.outputs).index(name)]
        if got.kind == "None":
            return [f"{name} is None: did you forget a `return`?"]
        if line := other_shape(name, got, wanted, exercise.returns.get(name, "")) or other_type(name, got, wanted):
            return [line]
    return []


def other_shape(name: str, got: Output, wanted: Output, axes: str) -> str:
    if got.array.shape == wanted.array.shape:
        return ""
    yours, expected = compare.shape(got.array.shape), compare.shape(wanted.array.shape, axes)
    return f"{name} has the shape {yours}, expected {expected}"


def other_type(name: str, got: Output, wanted: Output) -> str:
    arrays = ("a torch tensor", "a NumPy array")
    if wanted.array.ndim and wanted.kind in arrays and got.kind != wanted.kind:
        return f"{name} is {got.kind}, expected {wanted.kind}"
    a, b = got.array.dtype, wanted.array.dtype
    alike = a == b if b.kind == "f" else a.kind == b.kind or {a.kind, b.kind} <= set("iu")
    if alike or (got.kind == "a number" and a.kind in "iuf" and b.kind in "iuf"):
        return ""
    return f"{name} has the type {a}, expected {b}"


def tiny_example(plan: Plan, work: Work) -> Problem | None:
    exercise, yours, right = plan.exercise, work(plan.tiny), plan.expected(plan.tiny)
    for (name, wanted), got in zip(right.outputs.items(), yours.arrays):
        difference = compare.first_difference(
            got, wanted.array, exercise.returns.get(name, ""), exercise.atol, exercise.rtol
        )
        if difference:
            several = f" {name}" if len(right.outputs) > 1 else ""
            rows = {**shown(plan.tiny), f"yours{several}": compare.brief(got)}
            rows[f"expected{several}"] = compare.brief(wanted.array)
            width = max(len(label) for label in rows if rows[label])
            return Problem(2, (*(f"{k:{width}} = {v}" if v else k for k, v in rows.items()), difference))
    return None


def shown(case: Case) -> dict[str, str]:
    """The inputs of the example: up to five arrays, each on its own line, and the other inputs together on one line."""
    arrays = [name for name, value in case.inputs.items() if is_array(value) or isinstance(value, list)][:5]
    rows = {name: compare.brief(as_numpy(case.inputs[name])) for name in arrays}
    rest = [f"{name} = {compare.brief(value, 40)}" for name, value in case.inputs.items() if name not in arrays]
    return rows | ({", ".join(rest): ""} if rest else {})


def as_numpy(value: object) -> object:
    return value.detach().numpy() if hasattr(value, "detach") else value


def values(plan: Plan, work: Work) -> Problem | None:
    return first_wrong(plan, work, 3, plan.probes)


def first_wrong(plan: Plan, work: Work, layer: int, cases: list[Case]) -> Problem | None:
    for case in cases:
        yours, right = work(case), plan.expected(case)
        if yours.error:
            return stopped(layer, case, yours)
        if lines := differs_in_kind(plan.exercise, yours, right) or differs(plan.exercise, yours, right):
            return Problem(layer, (*lines, describe(case)))
    return None


def differs(exercise: Exercise, yours: Outcome, right: Outcome, slopes: bool = False) -> list[str]:
    tolerance = (compare.SLOPE_ATOL, compare.SLOPE_RTOL) if slopes else (exercise.atol, exercise.rtol)
    for (name, wanted), got in zip(right.outputs.items(), yours.arrays):
        if line := compare.first_difference(got, wanted.array, exercise.returns.get(name, ""), *tolerance):
            several = f"{name}: " if len(right.outputs) > 1 else ""
            bad = np.isnan(got).any() if got.dtype.kind == "f" else False
            why = "   NaN comes from 0/0, inf − inf or the log of a negative number" if bad else ""
            return [several + line + why]
    return []


def properties(plan: Plan, work: Work) -> Problem | None:
    for prop, cases in plan.properties.items():
        outcomes = [work(case) for case in cases]
        for case, outcome in zip(cases, outcomes):
            if outcome.error:
                return stopped(4, case, outcome)
            if lines := differs_in_kind(plan.exercise, outcome, plan.expected(case)):
                return Problem(4, (*lines, describe(case)))
        if not prop.holds(*(o.arrays[0] if len(o.arrays) == 1 else tuple(o.arrays) for o in outcomes)):
            return Problem(4, (f"this property does not hold: {prop.name}", *(describe(case) for case in cases[:2])))
    return None


def gradients(plan: Plan, work: Work) -> Problem | None:
    for case in plan.gradients:
        yours, right = work(case), plan.slope(case)
        if yours.error:
            return stopped(5, case, yours)
        if lines := differs_in_kind(plan.exercise, yours, right) or differs(plan.exercise, yours, right, slopes=True):
            return Problem(
                5, (*lines, f"expected by finite differences, with a random upstream gradient, {describe(case)}")
            )
    return None


def edges(plan: Plan, work: Work) -> Problem | None:
    return first_wrong(plan, work, 6, plan.edges)


def side_effects(plan: Plan, work: Work) -> Problem | None:
    for case in (plan.tiny, *plan.probes, *plan.edges):
        if changed := work(case).changed:
            names = " and ".join(changed)
            line = f"your code changed its input {names}, which the caller still needs: work on a copy, and avoid +="
            return Problem(7, (line, describe(case)), explained=True)
    outcome = work(plan.tiny)
    if outcome.drew:
        line = f"your code draws from {outcome.drew}, a generator that all code shares: use only one that you are given"
        return Problem(7, (line,), explained=True)
    if outcome.unsteady:
        return Problem(7, ("your code returned two different results for the same inputs",), explained=True)
    return None


def stopped(layer: int, case: Case, outcome: Outcome) -> Problem:
    """What is said when the learner's code raised an error."""
    error = outcome.error
    said = f"stopped by {error}"
    if error.startswith("RecursionError"):
        said = "stopped: your function calls itself endlessly"
    elif "MemoryError" in error.split(":")[0] or "allocate memory" in error:  # Python's own, NumPy's, torch's
        said = "stopped: your code asks for more memory than there is"
    elif error.startswith("NotImplementedError"):
        said = "stopped: your code reached a `raise NotImplementedError` that is still in it"
    return Problem(layer, tuple(part for part in (said, outcome.line, describe(case)) if part))


def describe(case: Case) -> str:
    """Which case it was, with the shapes of its arrays and the values of its other inputs."""
    if case.kind == "tiny":
        return "in the tiny example: " + describe_inputs(case)
    of = f" of the property “{case.group}”" if case.kind == "property" else ""
    return f"in the case “{case.name}”{of}: {describe_inputs(case)}"


def describe_inputs(case: Case) -> str:
    parts = []
    for name, value in case.inputs.items():
        if is_array(value):
            parts.append(f"{name} {list(value.shape)}")
        elif value is not None:
            parts.append(f"{name} = {compare.brief(value, 30)}")
    text = ", ".join(parts)
    return text if len(text) < 120 else text[:118] + " …"

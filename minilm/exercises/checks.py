"""The checks come in layers, from the cheapest to the hardest; the first layer that fails is the one that is reported.

1 shape and type · 2 the tiny example, printed whole · 3 probes · 4 properties · 5 gradients by finite differences · 6 edge
cases · 7 side effects. (Layer 0, import and signature, is in `learner.py`.) A layer only sees outcomes, which are arrays; it
never sees the learner's code.
"""

import numpy as np

from minilm.exercises import compare
from minilm.exercises.diagnosis import diagnose
from minilm.exercises.plan import Plan, Work, plan_of, worker
from minilm.exercises.report import LAYERS, NOT_FINISHED, NOT_WRITTEN, Problem, Report
from minilm.exercises.running import ALL_OF_IT, Case, Outcome, Output, is_array
from minilm.exercises.spec import Exercise, Pieces


def check(exercise: Exercise, pieces: Pieces, seed: int = 0) -> Report:
    """Run all checks on `pieces`. The diagnosis comes after the verdict and cannot change it."""
    return decide(plan_of(exercise, seed), worker(exercise, pieces))


def decide(plan: Plan, work: Work) -> Report:
    """The verdict on the outcomes that `work` returns for the cases of the plan; they may come from another process."""
    name = plan.exercise.name
    for layer in (still_a_stub, shapes, tiny_example, values, properties, gradients, edges, side_effects):
        if problem := layer(plan, work):
            found = None if problem.explained else diagnose(plan, work, problem.layer, problem.case)
            if not found:
                return Report(name, False, problem.layer, problem.lines, title=problem.title)
            lines = problem.lines + found.lines
            return Report(name, False, problem.layer, lines, found.keys, found.pair, problem.title, found.asked)
    cases = len(plan.compared) + sum(len(group) for group in plan.properties.values())
    return Report(name, True, len(LAYERS) - 1, (f"all layers, {cases} cases",))


def still_a_stub(plan: Plan, work: Work) -> Problem | None:
    """The last question of layer 0: is everything written that the example and the probes call?"""
    for case in (plan.tiny, *plan.probes):
        outcome = work(case)
        if outcome.error.startswith("NotImplementedError"):
            return unwritten(plan.exercise, outcome)
        if outcome.error:
            return None
    return None


def unwritten(exercise: Exercise, outcome: Outcome) -> Problem:
    """Which functions are not written yet: all of them, or some. The error names those that still raise."""
    missing = outcome.error.removeprefix("NotImplementedError:").strip()
    still = "`raise NotImplementedError` is still there: write your code in its place."
    if not missing or missing == ALL_OF_IT:
        return Problem(0, (still,), explained=True, title=NOT_WRITTEN)
    return Problem(0, (f"{missing}: {still}", *filter(None, [outcome.line])), explained=True, title=NOT_FINISHED)


def shapes(plan: Plan, work: Work) -> Problem | None:
    for case in (plan.tiny, *plan.probes):
        yours, right = work(case), plan.expected(case)
        if yours.error:
            return stopped(1, case, yours)
        if lines := differs_in_kind(plan.exercise, yours, right):
            return Problem(1, (*lines, describe(case)), case=case)
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
    a_count = not wanted.array.ndim and b.kind in "iu" and a.kind in "iuf"  # 3 and 3.0 are the same count
    if alike or a_count or (got.kind == "a number" and a.kind in "iuf" and b.kind in "iuf"):
        return ""
    why = ": create new arrays with the type of the inputs" if a == np.float32 and b == np.float64 else ""
    return f"{name} has the type {a}, expected {b}{why}"


def tiny_example(plan: Plan, work: Work) -> Problem | None:
    exercise, yours, right = plan.exercise, work(plan.tiny), plan.expected(plan.tiny)
    found = different(exercise, yours, right, exercise.atol, exercise.rtol)
    if not found:
        return None
    return Problem(
        2, (*table(exercise, plan.tiny, yours, right, found[0]), *differs(exercise, yours, right)), case=plan.tiny
    )


def table(exercise: Exercise, case: Case, yours: Outcome, right: Outcome, name: str) -> tuple[str, ...]:
    """A case in full, with one of its outputs: the inputs, `yours` and `expected`, one below the other."""
    several = f" {name}" if len(right.outputs) > 1 else ""
    got = yours.arrays[list(right.outputs).index(name)]
    rows = shown(case) | {f"yours{several}": compare.brief(got)}
    rows[f"expected{several}"] = compare.brief(right.outputs[name].array)
    width = max(map(len, rows))
    return tuple(f"{label:{width}} = {value}" for label, value in rows.items())


def shown(case: Case) -> dict[str, str]:
    """The inputs of the example: up to five arrays and one other input on a line of their own; further ones share a line."""
    arrays = [name for name, value in case.inputs.items() if is_array(value) or isinstance(value, list)][:5]
    rows = {name: compare.brief(as_numpy(case.inputs[name])) for name in arrays}
    rest = {name: compare.brief(as_numpy(value), 40) for name, value in case.inputs.items() if name not in arrays}
    if len(rest) > 1 and sum(len(f"{name} = {value}, ") for name, value in rest.items()) < compare.WIDTH:
        first, *more = rest.items()
        rest = {first[0]: ", ".join([first[1], *(f"{name} = {value}" for name, value in more)])}
    return rows | rest


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
            return Problem(layer, (*lines, describe(case)), case=case)
    return None


def differs(exercise: Exercise, yours: Outcome, right: Outcome, slopes: bool = False) -> list[str]:
    tolerance = (compare.SLOPE_ATOL, compare.SLOPE_RTOL) if slopes else (exercise.atol, exercise.rtol)
    found = different(exercise, yours, right, *tolerance)
    if not found:
        return []
    name = found[0]
    got, wanted = yours.arrays[list(right.outputs).index(name)], right.outputs[name].array
    line = compare.first_difference(got, wanted, exercise.returns.get(name, ""), *tolerance)
    several = f"{name}: " if len(right.outputs) > 1 else ""
    bad = np.isnan(got).any() if got.dtype.kind == "f" else False
    why = "   NaN comes from 0/0, inf − inf or the log of a negative number" if bad else ""
    return [several + line + also(found) + why]


def different(exercise: Exercise, yours: Outcome, right: Outcome, atol: float, rtol: float) -> list[str]:
    """The outputs that differ, the earliest first: by the step of the first difference, then in the order of computation."""
    order = [*exercise.shown_first, *(name for name in right.outputs if name not in exercise.shown_first)]
    found = []
    for (name, wanted), got in zip(right.outputs.items(), yours.arrays):
        wrong = compare.deviations(got, wanted.array, atol, rtol) > 1
        if wrong.any():
            steps = exercise.returns.get(name, "").startswith("step") and wrong.ndim
            found.append((int(np.argwhere(wrong)[0][0]) if steps else 0, order.index(name), name))
    return [name for _, _, name in sorted(found)]


def also(found: list[str]) -> str:
    """Which other outputs differ."""
    others = ", ".join(found[1:4]) + (" …" if len(found) > 4 else "")
    return f"; also different: {others}" if others else ""


def properties(plan: Plan, work: Work) -> Problem | None:
    for prop, cases in plan.properties.items():
        outcomes = [work(case) for case in cases]
        for case, outcome in zip(cases, outcomes):
            if outcome.error:
                return stopped(4, case, outcome)
            if lines := differs_in_kind(plan.exercise, outcome, plan.expected(case)):
                return Problem(4, (*lines, describe(case)), case=case)
        if not prop.holds(*(o.arrays[0] if len(o.arrays) == 1 else tuple(o.arrays) for o in outcomes)):
            said = f"this property does not hold: {prop.name}"
            return Problem(4, (said, *(describe(case) for case in cases[:2])), case=cases[0])
    return None


def gradients(plan: Plan, work: Work) -> Problem | None:
    for case in plan.gradients:
        yours, right = work(case), plan.slope(case)
        if yours.error:
            return stopped(5, case, yours)
        if lines := differs_in_kind(plan.exercise, yours, right) or differs(plan.exercise, yours, right, slopes=True):
            said = f"expected by finite differences, with a random upstream gradient, {describe(case)}"
            return Problem(5, (*lines, said), case=case)
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
    said, title = f"stopped by {error}", "your code raised an error"
    if error.startswith("RecursionError"):
        said, title = "stopped: your function calls itself endlessly", "your code calls itself endlessly"
    elif "MemoryError" in error.split(":")[0] or "allocate memory" in error or "array is too big" in error:
        said, title = "stopped: your code asks for more memory than there is", "your code needs too much memory"
    elif error.startswith("NotImplementedError"):
        said, title = "stopped: your code reached a `raise NotImplementedError` that is still in it", NOT_FINISHED
    return Problem(layer, tuple(part for part in (said, outcome.line, describe(case)) if part), title=title, case=case)


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

"""Mutants: copies of a reference with one small change in the syntax tree, to see whether an exercise notices it.

axis        another axis, no axis at all, axes not kept, `.T` left out
sign        + for −, a minus or a `~` left out, < for <=, == for !=
constant    a number one higher (or twice as large), True for False
dropped     one side of a + b, a · b, a & b …; the exp of exp(x); one branch of an `if`; an `x += y`
swapped     a − b, a / b, a @ b, f(a, b) with both sides exchanged

Bad input is not part of the exercises, so an `if` that only raises and a call of a `check…` function stay unchanged.
"""

import ast
import copy
import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minilm.exercises.spec import Exercise, Pieces
from minilm.exercises.stub import Definition, definition, parts, reference

Change = tuple[str, ast.AST]  # the kind of change, and the new node
AXES = ("axis", "axes", "dim", "dims", "keepdim", "keepdims")
OVER_AN_AXIS = frozenset(
    "sum mean max min amax argmax var std softmax log_softmax logsumexp cumsum size chunk transpose swapaxes unsqueeze "
    "squeeze flip gather argsort".split()
)
WRAPPERS = frozenset(
    "exp log sqrt square tanh sigmoid softmax log_softmax sin cos abs erf max min sum mean cumsum masked_fill flip tril "
    "triu clip clamp log2 maximum".split()
)
OTHER_SIGN: dict[type, Any] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHER_SIGN |= {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
LEFT_ALONE = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr)
RIGHT_ALONE = (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)
AROUND = (ast.BinOp, ast.Call, ast.Subscript, ast.Compare, ast.stmt)
NOT_THE_SAME_TURNED = (ast.Sub, ast.Div, ast.MatMult, ast.Pow, ast.FloorDiv)


@dataclass(frozen=True)
class Mutant:
    """The pieces of an exercise with one change, `key`: "kind: before → after"; " #2" marks the same change elsewhere."""

    key: str
    pieces: Pieces


def mutants(exercise: Exercise) -> Iterator[Mutant]:
    """All mutants of what the learner writes, and of the helpers in the same file that belong to the solution."""
    for key, dotted, tree in planned(exercise):
        yield Mutant(key, with_instead(exercise, dotted, tree))


def planned(exercise: Exercise) -> Iterator[tuple[str, str, Definition]]:
    """(key, dotted path of the changed definition, its changed tree) for every mutant."""
    seen: Counter[str] = Counter()
    for dotted in parts(exercise):
        for key, tree in mutations(definition(dotted)[1], exercise.keep):
            seen[key] += 1
            number = f" #{seen[key]}" if seen[key] > 1 else ""
            yield key + number, dotted, tree


def with_instead(exercise: Exercise, dotted: str, tree: Definition) -> Pieces:
    """The pieces of the exercise, with the definition `dotted` replaced by `tree`.

    All parts of the exercise in that module are defined again in a copy of the module's names, so that the library's own
    functions are not affected.
    """
    module = dotted.rpartition(".")[0]
    names = dict(vars(importlib.import_module(module)))
    here = [part for part in parts(exercise) if part.rpartition(".")[0] == module]
    body: list[ast.stmt] = [tree if part == dotted else definition(part)[1] for part in here]
    code = compile(ast.fix_missing_locations(ast.Module(body, [])), "<mutant>", "exec")
    exec(code, names)
    return {
        name: names[name] if target.rpartition(".")[0] == module else reference(target)
        for name, target in exercise.targets.items()
    }


def mutations(node: Definition, keep: tuple[str, ...] = ()) -> Iterator[tuple[str, Definition]]:
    """(key, changed tree) for every change of a definition; the methods named in `keep` are not changed."""
    tree = copy.deepcopy(node)
    for parent, field, i, child, axis, around in list(places(tree, keep, tree)):
        shown = around if is_number(child) else None  # "x + 1 → x + 2" says more than "1 → 2"
        before = ast.unparse(shown or child)
        for kind, new in changes(child, axis):
            replace_child(parent, field, i, new)
            yield f"{kind}: {short(before)} → {short(ast.unparse(shown or new))}", copy.deepcopy(tree)
            replace_child(parent, field, i, child)


def replace_child(parent: ast.AST, field: str, i: int | None, new: ast.AST) -> None:
    if i is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[i] = new


def short(text: str, width: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width // 2]} … {text[-width // 3 :]}"


def places(node: ast.AST, keep: tuple[str, ...], around: ast.AST, axis: bool = False) -> Iterator[tuple]:
    """Everything below `node` that may be changed, as (parent, field, index or None, child, whether a number there is an
    axis, the operation around it)."""
    around = node if isinstance(node, AROUND) else around
    for field, value in ast.iter_fields(node):
        if field in ("args", "returns", "decorator_list", "annotation", "bases") and not isinstance(node, ast.Call):
            continue
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or is_left_alone(child, keep):
                continue
            inside = axis or names_an_axis(node, field, i)
            yield node, field, i, child, inside, around
            if not is_number(child):
                yield from places(child, keep, around, inside and isinstance(child, ast.Tuple | ast.keyword))


def is_left_alone(node: ast.AST, keep: tuple[str, ...]) -> bool:
    """Whether `node` is never changed: docstrings, checks of bad input, messages, and methods that the stub keeps."""
    if isinstance(node, Definition):
        return node.name in keep
    if isinstance(node, ast.Expr):
        said = isinstance(node.value, ast.Constant)
        return said or (isinstance(node.value, ast.Call) and "check" in ast.unparse(node.value.func))
    if isinstance(node, ast.If) and not node.orelse:  # assignments for an error message belong to the check
        complains = any(isinstance(part, ast.Raise) for part in ast.walk(node))
        return complains and all(isinstance(part, ast.Raise | ast.If | ast.Assign) for part in node.body)
    return isinstance(node, ast.Raise | ast.Assert | ast.JoinedStr)


def names_an_axis(parent: ast.AST, field: str, i: int | None) -> bool:
    """Whether a number at this place names an axis, as in `dim=…`, x.shape[…] or x.sum(…)."""
    if isinstance(parent, ast.keyword):
        return parent.arg in AXES
    if isinstance(parent, ast.Subscript):
        return field == "slice" and ast.unparse(parent.value).endswith(".shape")
    if isinstance(parent, ast.Call) and field == "args":
        return isinstance(parent.func, ast.Attribute) and parent.func.attr in OVER_AN_AXIS
    return False


def is_number(node: ast.AST) -> bool:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def changes(node: ast.AST, axis: bool) -> Iterator[Change]:
    """The changes of `node`: what may replace it."""
    if is_number(node):
        yield other_number(ast.literal_eval(node), axis)
    elif isinstance(node, ast.BinOp):
        yield from other_operation(node)
    elif isinstance(node, ast.UnaryOp):
        yield "sign", node.operand
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER_SIGN:
        yield "sign", ast.Compare(node.left, [OTHER_SIGN[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    elif isinstance(node, ast.Call):
        yield from other_call(node)
    elif isinstance(node, ast.Attribute) and node.attr in ("T", "mT"):
        yield "axis", node.value
    elif isinstance(node, ast.AugAssign):
        if type(node.op) in OTHER_SIGN:
            yield "sign", ast.AugAssign(node.target, OTHER_SIGN[type(node.op)](), node.value)
        yield "dropped", ast.Pass()
    elif isinstance(node, ast.IfExp):
        yield "dropped", node.body
        yield "dropped", node.orelse
    elif isinstance(node, ast.If):
        yield "dropped", ast.If(ast.Constant(True), node.body, node.orelse)
        yield "dropped", ast.If(ast.Constant(False), node.body, node.orelse)


def other_number(value: float | bool, axis: bool) -> Change:
    if isinstance(value, bool):
        return "axis" if axis else "constant", ast.Constant(not value)
    if axis:
        moved: dict[float, float] = {-1: 0, 0: -1}
        return "axis", as_number(moved.get(value, value - 1 if value > 0 else value + 1))
    return "constant", as_number(value + 1 if isinstance(value, int) or value == 0 else 2 * value)


def as_number(value: float) -> ast.expr:
    return ast.parse(repr(value), mode="eval").body


def other_operation(node: ast.BinOp) -> Iterator[Change]:
    a, op, b = node.left, type(node.op), node.right
    if op in OTHER_SIGN:
        yield "sign", ast.BinOp(a, OTHER_SIGN[op](), b)
    if op in LEFT_ALONE:
        yield "dropped", a
    if op in RIGHT_ALONE:
        yield "dropped", b
    elif op is ast.Sub:
        yield "dropped", ast.UnaryOp(ast.USub(), b)
    if op in NOT_THE_SAME_TURNED and ast.unparse(a) != ast.unparse(b):
        yield "swapped", ast.BinOp(b, node.op, a)


def other_call(node: ast.Call) -> Iterator[Change]:
    name = ast.unparse(node.func).rpartition(".")[2]
    for i, keyword in enumerate(node.keywords):
        if keyword.arg in ("axis", "dim"):
            yield "axis", ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])
    if name in WRAPPERS:  # exp(x) → x, x.sum(-1) → x
        of_a_module = ast.unparse(node.func).split(".")[0] in ("np", "torch", "F", "math")
        if isinstance(node.func, ast.Attribute) and not of_a_module:
            yield "dropped", node.func.value
        elif node.args and not isinstance(node.args[0], ast.GeneratorExp):
            yield "dropped", node.args[0]
    a = 1 if name == "where" else 0  # of where(c, a, b), swap the last two
    if len(node.args) > a + 1 and ast.unparse(node.args[a]) != ast.unparse(node.args[a + 1]):
        turned = [*node.args[:a], node.args[a + 1], node.args[a], *node.args[a + 2 :]]
        yield "swapped", ast.Call(node.func, turned, node.keywords)

"""The requirements for every exercise. A new spec is tested against all of them without any extra code."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minilm.exercises import stub
from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.checks import check
from minilm.exercises.diagnosis import separation
from minilm.exercises.learner import check_file
from minilm.exercises.plan import plan_of
from minilm.exercises.quality.judge import judge
from minilm.exercises.report import LONGEST, WIDTH

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
STYLE_SEEDS = (0, 1)  # `minilm exercise quality` takes many more, of the mistakes as well
every_exercise = pytest.mark.parametrize("name", [entry.name for entry in entries()])


def body_lines(dotted):
    """The lines of the reference's body, without docstring, comments and very short lines (a bracket, `else:`)."""
    _, node = stub.definition(dotted)
    functions = [part for part in ast.walk(node) if isinstance(part, ast.FunctionDef)]
    for function in functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        for line in "\n".join(ast.unparse(statement) for statement in body).splitlines():
            if len(line.strip()) > 6:
                yield line.strip()


@every_exercise
@pytest.mark.parametrize("guided", [True, False])
def test_an_untouched_stub_fails_as_not_written_and_holds_no_line_of_its_reference(name, guided, tmp_path):
    exercise = load(name)
    text = stub.stub(exercise, guided)
    (path := tmp_path / f"{find(name).stem}.py").write_text(text, encoding="utf-8")
    report = check_file(exercise, path)
    assert not report.passed and report.title == "not written yet", str(report)
    code = {line.strip() for line in ast.unparse(ast.parse(text)).splitlines()}
    kept = {line.strip() for part in exercise.keep for line in body_lines_of_method(exercise, part)}
    assert not (set(body_lines(exercise.target)) - kept) & code
    numbered = re.findall(r"^ +# \d\. .", text, re.MULTILINE)
    assert len(numbered) >= 2 if guided else not numbered
    assert all(len(line) <= 135 for line in text.splitlines())


def body_lines_of_method(exercise, method):
    _, node = stub.definition(exercise.target)
    return next(ast.unparse(part) for part in node.body if getattr(part, "name", "") == method).splitlines()


@every_exercise
def test_mistakes_are_rejected_and_named(name):
    exercise = load(name)
    judged = judge(replace(exercise, right={}), [0])
    assert not judged.lapses, "\n".join(judged.lapses)
    assert len(judged.wrong) == len(exercise.wrong) == judged.rejected == judged.named
    for report in judged.wrong.values():
        lines = str(report).splitlines()
        assert len(lines) <= LONGEST and max(map(len, lines)) <= WIDTH, str(report)
        assert lines[-1] == f"  next: minilm exercise hint {name}" and report.asked in report.named
        assert report.lines[-2].startswith("Looks like: ") and report.lines[-1].startswith("Think: ")


@every_exercise
def test_right_styles_are_accepted(name):
    exercise = load(name)
    judged = judge(replace(exercise, wrong={}), STYLE_SEEDS)
    assert not judged.lapses, "\n".join(judged.lapses)
    assert len(judged.right) == len(STYLE_SEEDS) * len(exercise.right) == judged.accepted


@every_exercise
def test_the_reference_passes(name):
    plan = plan_of(load(name), 2)
    report = check(plan.exercise, plan.reference, 2)
    assert report.passed, str(report)


@every_exercise
def test_mistakes_stand_apart_from_the_right_answer_and_from_each_other(name):
    exercise = load(name)
    names, matrix = separation(plan_of(exercise, 1))
    families = [exercise.wrong[key].family if key in exercise.wrong else "" for key in names]
    for i, j in zip(*np.triu_indices(len(names), 1)):
        if not families[i] or families[i] != families[j]:
            assert matrix[i, j] >= exercise.separation, f"{names[i]} and {names[j]} are only {matrix[i, j]:.3g} apart"


@every_exercise
def test_the_spec_says_all_that_it_must(name):
    exercise = load(name)
    assert exercise.title and all(re.fullmatch(r"F[0-3]\d", id) for id in exercise.formulas)
    assert len(exercise.right) >= 3 and exercise.wrong and len(set(exercise.hints)) == 3
    assert len({wrong.name for wrong in exercise.wrong.values()}) == len(exercise.wrong)
    assert all(wrong.question.endswith("?") and not wrong.name.endswith(".") for wrong in exercise.wrong.values())
    assert all(find(needed).number < exercise.number for needed in exercise.needs), (
        "an exercise needs only what comes before it"
    )
    assert all(stub.reference(dotted) for dotted in exercise.given)
    assert plan_of(exercise, 0).probes and exercise.task
    for number, heading in {exercise.section, *(wrong.section for wrong in exercise.wrong.values() if wrong.section)}:
        for notebook in NOTEBOOKS.glob(f"{number}_*.py"):
            headings = re.findall(r"^# ###? (.+?)(?:  \(|$)", notebook.read_text(encoding="utf-8"), re.MULTILINE)
            assert not heading or heading in headings, f"notebook {number} has no section {heading!r}"


@every_exercise
def test_a_hint_is_no_solution(name):
    exercise = load(name)
    lines = {line for dotted in exercise.targets.values() for line in body_lines(dotted) if len(line) > 20}
    shown = " ".join([*exercise.hints, *exercise.steps, exercise.task])
    assert not [line for line in lines if line in shown]


def test_the_list_is_in_order_and_every_file_has_a_number_of_its_own():
    numbers = [entry.number for entry in entries()]
    assert numbers == sorted(set(numbers)) and len({entry.name for entry in entries()}) == len(numbers) >= 12

"""`minilm exercise solutions` writes files that run and pass; they consist of the library's own lines."""

import ast
import re

import pytest

from minilm.exercises import stub
from minilm.exercises.catalogue import entries, find, load
from minilm.exercises.grading.solutions import imports_and_helpers, names_used, solution_file
from minilm.exercises.learner import check_file

every_exercise = pytest.mark.parametrize("name", [entry.name for entry in entries()])


@every_exercise
def test_a_solution_put_in_place_of_the_learners_file_passes(name, tmp_path):
    (path := tmp_path / f"{find(name).stem}.py").write_text(solution_file(load(name)), encoding="utf-8")
    report = check_file(load(name), path)
    assert report.passed, str(report)


@every_exercise
def test_a_solution_imports_what_it_uses_and_nothing_else(name):
    tree = ast.parse(text := solution_file(load(name)))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = [alias.asname or alias.name for node in imports for alias in node.names]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert len(imported) == len(set(imported)) and set(imported) <= used
    assert text.startswith(stub.head(load(name)))


@every_exercise
def test_a_solution_says_on_which_line_of_the_library_each_part_stands(name):
    text = solution_file(load(name))
    parts = re.split(r"^# (minilm/[\w/]+)\.py, line (\d+)\n", text, flags=re.MULTILINE)[1:]
    for file, line, part in zip(parts[::3], parts[1::3], parts[2::3]):
        theirs = stub.source_of(file.replace("/", "."))[0].splitlines()[int(line) - 1 :]
        assert theirs[: len(part.strip().splitlines())] == part.strip().splitlines()
    defined = [node.name for node in ast.parse(text).body if isinstance(node, stub.Definition)]
    assert len(defined) == len(set(defined)) and set(load(name).targets) <= set(defined)


@every_exercise
def test_a_solution_leans_on_no_later_exercise(name):
    later = [load(entry.name) for entry in entries() if entry.number > load(name).number]
    lines, helpers = imports_and_helpers(load(name))
    used = {line.removeprefix("from ").replace(" import ", ".") for line in lines} | set(helpers)
    assert not used & {dotted for exercise in later for dotted in exercise.targets.values()}


def test_constants_come_along_with_their_comment_and_only_once():
    assert solution_file(load("next_sentence")).count("CLS, SEP = 1, 2") == 1
    assert "\n# σ and its slope." in solution_file(load("rnn"))


def test_helpers_are_shown_and_checks_of_input_imported():
    text = solution_file(load("layer_norm_gradient"))
    assert text.index("def standardised") < text.index("def layer_norm_gradient") and "def check_norm" not in text
    assert "from minilm.formulas.transformer import check_norm\n" in text
    assert "from minilm.training.losses import Loss\n" in solution_file(load("cross_entropy"))  # as in the stub


def test_a_name_of_ones_own_is_not_taken_from_the_module():
    assert names_used("def f(x: A, y=B):\n    parts, n = x\n    return [n + C(i) for i in parts]\n") == {*"ABCf"}
    assert names_used("@d\nclass K(Base):\n    m: T = S\n    def f(self):\n        return self.g(K, G)\n") == {
        *("d", "K", "Base", "T", "S", "G")
    }

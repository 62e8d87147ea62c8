"""`from minilm import …` offers every public name and loads it at first use; `python -m minilm` works too."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minilm

TOP = Path(__file__).resolve().parents[1]
ROOMS = ["errors", "text", "examples", "layers", "models", "pretrained", "training", "jobs", "experiments"]


@pytest.mark.parametrize("name", minilm.MODULE_OF)
def test_every_public_name_is_the_one_in_its_module_and_explains_itself(name):
    value = getattr(minilm, name)
    assert value is getattr(importlib.import_module(minilm.MODULE_OF[name]), name)
    assert value.__module__ == minilm.MODULE_OF[name], f"{name} is defined in {value.__module__}"
    # A dataclass without a docstring gets its signature as its docstring, which does not count.
    assert value.__doc__ and not value.__doc__.startswith(f"{name}("), f"{name} has no docstring"
    assert inspect.isclass(value) or inspect.isfunction(value)


def test_the_names_follow_the_order_of_the_house():
    rooms = [module.split(".")[1] for module in minilm.MODULE_OF.values()]
    assert rooms == sorted(rooms, key=ROOMS.index)


def test_type_checkers_see_the_same_names_in_the_same_modules():
    (block,) = [
        node
        for node in ast.parse(Path(minilm.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for name in node.names:
            assert name.asname == name.name, "`name as name` is how a name is exported for type checkers (PEP 484)"
            seen[name.name] = node.module
    assert seen == minilm.MODULE_OF


def test_dir_lists_them_for_completion():
    assert {*minilm.MODULE_OF, "__version__"} <= set(dir(minilm))


def test_a_wrong_name_is_an_attribute_error_that_suggests_the_right_one():
    with pytest.raises(AttributeError, match=r"module 'minilm' has no attribute 'Tokeniser'; did you mean Tokenizer\?"):
        minilm.Tokeniser  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'qwertz'$"):
        minilm.qwertz  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Tokeniser'"):
        from minilm import Tokeniser  # noqa: F401


def fresh(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """The result of a new Python process that was started in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(TOP), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )


def test_python_m_minilm(tmp_path):
    done = fresh("-m", "minilm", "--version", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"minilm {minilm.__version__}\n", "")
    done = fresh("-m", "minilm", "qwertz", folder=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("minilm: there is no command 'qwertz'")


def test_a_name_loads_its_module_and_no_other_room(tmp_path):
    """`import minilm` and dir() load very little, and a name that does not need PyTorch does not load it."""
    code = "import sys, minilm; dir(minilm); {}; print('torch' in sys.modules, 'minilm.jobs' in sys.modules)"
    for use, loaded in {"minilm.InputError": "False False", "minilm.AdamW": "True False"}.items():
        done = fresh("-c", code.format(use), folder=tmp_path)
        assert done.stdout.strip() == loaded, done.stderr

"""Loads the programs in notebooks/ from their files, because that folder is not a package. Not a test file."""

import importlib.util
from pathlib import Path
from types import ModuleType

TOP = Path(__file__).resolve().parents[1]
NOTEBOOKS = TOP / "notebooks"


def program(name: str) -> ModuleType:
    """The module `build` or `index`."""
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

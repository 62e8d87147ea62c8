"""The library as a notebook's trial cells see it: it can be imported, so that the cell goes on, but not used."""

import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import Any

EXTENSION = "minilm.exercises.notebook"


def nothing_to_say(*_: Any, **__: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(passed=True, layer=7, lines=(), named=(), title="", printed=())


class Withheld(types.ModuleType):
    """Stands for everything in the library that the stub does not give. It can be imported, but not used."""

    __path__: list[str] = []

    def __init__(self, name: str, deny: Callable[[], None]):
        super().__init__(name)
        self.__dict__["_deny"] = deny

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Withheld(f"{self.__name__}.{name}", self.__dict__["_deny"])

    def __call__(self, *_: Any, **__: Any) -> Any:
        if self.__name__.startswith(EXTENSION):
            return nothing_to_say()
        return self.__dict__["_deny"]()


class Withholding:
    """Imports the library as `Withheld`."""

    def __init__(self, deny: Callable[[], None]):
        self.deny = deny

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        ours = name.split(".")[0] == "minilm"
        return ModuleSpec(name, self, is_package=True) if ours else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> Withheld:
        return Withheld(spec.name, self.deny)

    def exec_module(self, module: types.ModuleType) -> None:
        """There is nothing to run."""

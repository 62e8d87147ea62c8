"""Going on with a run that was stopped: its rows are kept only if they were measured with the same options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minilm.errors import InputError
from minilm.files.atomic import write_json
from minilm.files.tensors import read_json


def kept_rows(path: Path, options: Mapping[str, Any], resume: bool) -> list[dict]:
    """The rows that are in `path` already, if `resume` asks for them; and write down the options for the next run.

    `options` are those that change the figures; they lie beside the rows, in `<name>-options.json`. Raises InputError if the rows
    were measured with other options, or if nothing says with which.
    """
    noted, rows = path.with_name(f"{path.stem}-options.json"), []
    if resume and path.is_file():
        if not noted.is_file():
            raise InputError(
                f"nothing says with which options {path} was measured ({noted.name} is missing): leave out --resume."
            )
        before = read_json(noted)
        for name, value in options.items():
            if before.get(name) != (here := as_read(value)):
                option = f"--{name.replace('_', '-')}"
                raise InputError(
                    f"{path} was measured with {option} {written(before.get(name))}, and this is {option} {written(here)}: "
                    "resume with the same options, choose another --out, or leave out --resume."
                )
        rows = read_json(path, list)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, rows)  # before the options: rows of other options must never lie beside these
    write_json(noted, {name: as_read(value) for name, value in options.items()})
    return rows


def as_read(value: Any) -> Any:
    """A value as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def written(value: Any) -> str:
    """A value as it is typed."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)

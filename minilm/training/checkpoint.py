"""Files of a run, written so that a killed run always leaves the last good state.

config.json  model.safetensors  tokenizer.json     the model, in the layout of `transformers`
metrics.jsonl                                      one line an evaluation
training_state/step-00001200/                      all that resuming needs: weights, optimizer, generators
training_state/latest.json                         which of them is complete; replaced last, in one stroke
"""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.tensorfile import read_safetensors


def write_text(path: Path, text: str) -> None:
    """Replace `path` in one stroke: a reader sees the old text or the new one, never half of either."""
    replace_bytes(path, text.encode())


def replace_bytes(path: Path, data: bytes) -> None:
    growing = path.with_name(path.name + ".growing")
    try:
        growing.write_bytes(data)
        os.replace(growing, path)
    except OSError:
        growing.unlink(missing_ok=True)  # half a file helps nobody, least of all on a full disk
        raise


def write_json(path: Path, value) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """As `write_text`, for safetensors.

    By way of the bytes, since the library's own writer hides a full disk in an error that is none of the system's.
    """
    copies = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    replace_bytes(path, save(copies, metadata={"format": "pt"}))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name, a table that is used twice once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: str, may_lack: tuple[str, ...] = ()) -> list[str]:
    """Copy `weights` into `model`; the names that it kept of its own (all begin with one of `may_lack`) are returned.

    Everything that does not fit is listed in one message: unknown, missing, misshapen.
    """
    own = weights_of(model)
    missing = [name for name in own if name not in weights]
    wrong = [
        f"{name} is {list(weights[name].shape)}, the model's {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    lacking = [name for name in missing if not name.startswith(may_lack)] if may_lack else missing
    unknown = [name for name in weights if name not in own and not name.startswith(HEADS)]
    problems = [f"missing {', '.join(lacking)}"] * bool(lacking) + wrong
    problems += [f"unknown {', '.join(unknown)}"] * bool(unknown)
    if problems:
        raise InputError(f"the weights of {where} do not fit: {'; '.join(problems)}.")
    with torch.no_grad():
        for name, tensor in own.items():
            if name in weights:
                tensor.copy_(weights[name])
    return missing


HEADS = ("pooler.", "masked_words.", "next_sentence.", "head.")  # one model has them, the next does not


def save_state(run: Path, step: int, tensors: dict[str, Tensor], facts: dict) -> None:
    """A state to resume from. The one before is deleted only when this one is complete."""
    states = run / "training_state"
    folder = states / f"step-{step:08d}"
    if (states / "latest.json").exists() and folder.name == latest_name(states):
        folder = folder.with_name(folder.name + "-again")  # never over the only good one
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_tensors(folder / "state.safetensors", tensors)
    write_json(folder / "facts.json", facts)
    write_json(states / "latest.json", {"folder": folder.name})
    for other in states.glob("step-*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)


def load_state(run: Path) -> tuple[dict[str, Tensor], dict] | None:
    """The last complete state, or None if there is none."""
    states = run / "training_state"
    if not (states / "latest.json").exists():
        return None
    folder = states / latest_name(states)
    try:
        facts = dict(json.loads((folder / "facts.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        why = f"facts.json is broken ({error})"
        raise InputError(f"{folder} cannot be resumed from: {why}; begin again in another --out.") from None
    return read_safetensors(folder / "state.safetensors"), facts


def latest_name(states: Path) -> str:
    """The name of the folder of the last complete state."""
    try:
        name = json.loads((states / "latest.json").read_text(encoding="utf-8"))["folder"]
        if not isinstance(name, str):
            raise ValueError(f"the folder {name!r} is no name")
        return name
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"latest.json is broken ({error})"
        raise InputError(f"{states} cannot be resumed from: {why}; begin again in another --out.") from None


def start_metrics(run: Path, step: int | None = None) -> None:
    """An empty `metrics.jsonl`, or, for a resumed run, the lines up to `step`."""
    run.mkdir(parents=True, exist_ok=True)
    kept = [] if step is None else [line for line in read_metrics(run) if line["step"] <= step]
    write_text(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


def add_metrics(run: Path, **values) -> None:
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read_metrics(run: Path) -> list[dict]:
    """Every line; the last one may have been cut in half by a full disk, and is then left out.

    Raises InputError for any other line that is not an object with a "step".
    """
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            what = f'{path}, line {number}: broken, for it is not an object with a "step"'
            raise InputError(f"{what}; delete the line, or begin again in another --out.")
        rows.append(row)
    return rows

"""Stopping and going on: what a run keeps, and when it may be taken up again."""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.jobs.folders import refuse_to_overwrite
from minilm.training.checkpoint import load_weights, weights_of
from minilm.training.loop import Progress
from minilm.training.optimizer import Optimizer

# What may differ between a run and its resumption: where things lie and what is shown, but nothing that is learnt.
MAY_CHANGE = {"out", "resume", "cache", "progress", "tensorboard", "device"}


def plain(options) -> dict:
    """A dataclass of options as JSON has it."""
    return json.loads(json.dumps(asdict(options), default=str))


def check_folder(out: Path, options, state: tuple[dict, dict] | None, resume: bool) -> None:
    """Neither overwrite a run by accident nor resume another one than was asked for."""
    if not resume:
        if (out / "training_state" / "latest.json").exists():  # without it, a run was killed before its first save
            raise InputError(f"{out} holds a run already: add --resume to go on with it, or choose another --out.")
        refuse_to_overwrite(out)
        return
    if state is None:
        raise InputError(f"{out} holds no run to resume: start one without --resume.")
    before, now = state[1].get("options"), plain(options)
    if not isinstance(before, dict):
        raise InputError(f"{out} cannot be resumed: its state does not say with which options it was started.")
    changed = [name for name in now if name not in MAY_CHANGE and before.get(name) != now[name]]
    if changed:
        lines = ", ".join(f"{name} was {before.get(name)} and is {now[name]}" for name in changed)
        raise InputError(f"{out} was started with other options ({lines}): resume it with the same ones.")


def check_corpus(out: Path, prepared: Path, state: tuple[dict, dict] | None) -> None:
    """A text file may have been edited since the run began; it would then go on with other ids."""
    before = state[1].get("corpus", prepared.name) if state else prepared.name
    if before != prepared.name:
        raise InputError(
            f"{out} was started on another text: the corpus has been changed since. Begin in another --out."
        )


def snapshot(
    model: nn.Module, optimizer: Optimizer, generator: torch.Generator, progress: Progress
) -> dict[str, Tensor]:
    """Everything that the next step depends on. (What it sees depends on its number alone.)"""
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    tensors["progress"] = torch.tensor([progress.step, progress.tokens, progress.seconds], dtype=torch.float64)
    tensors["generator"] = generator.get_state()
    return tensors


def restore(
    model: nn.Module,
    optimizer: Optimizer,
    generator: torch.Generator,
    progress: Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Put a snapshot back."""

    def part(kind: str) -> dict[str, Tensor]:
        return {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}

    if not {"generator", "progress"} <= tensors.keys():
        raise InputError("the saved state is not one that `minilm pretrain` wrote: begin again in another --out.")
    load_weights(model, part("model."), "the saved state")
    optimizer.load_state(part("optimizer."))
    generator.set_state(tensors["generator"].cpu())
    step, tokens, progress.seconds = tensors["progress"].tolist()
    progress.step, progress.tokens = int(step), int(tokens)

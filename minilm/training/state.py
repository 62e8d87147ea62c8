"""What a run saves so that it can be stopped and resumed. Even a killed run leaves its last complete state behind.

config.json  model.safetensors  tokenizer.json     the model, in the layout of `transformers`, with its checksums
metrics.jsonl                                      one line per evaluation
training_state/step-00001200/                      everything that resuming needs: weights, optimizer, generator, checksums
training_state/step-00000900/                      the state before it, in case the last one is damaged
training_state/latest.json                         the name of the last complete one; it is replaced last, in one step
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.atomic import write_json, write_text
from minilm.files.checksums import FILE as CHECKSUMS, check, seal
from minilm.files.tensors import read_safetensors, write_tensors
from minilm.pretrained.run_folder import refuse_to_overwrite
from minilm.pretrained.weights import load_weights, weights_of
from minilm.training.loop import Progress
from minilm.training.optimizer import Optimizer

VERSION = 3  # raised when names or contents change, so that an older state is refused instead of misread
# What may differ between a run and its resumption: where files lie and what is displayed, but nothing that affects the
# model. The contents of corpus and tokenizer may not differ: `check_corpus` compares them.
MAY_CHANGE = {"out", "cache", "corpus", "tokenizer", "device"}
MAY_CHANGE |= {"resume", "resume_at", "progress", "tensorboard", "watch"}


def save_state(run: Path, step: int, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write a state to resume from. The previous one is kept, and those before it are deleted when this one is complete."""
    states = run / "training_state"
    before = latest(states)["folder"] if (states / "latest.json").exists() else None
    folder = states / f"step-{step:08d}"
    if folder.name == before:
        folder = folder.with_name(folder.name + "-again")  # never overwrite the last complete one
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_tensors(folder / "state.safetensors", tensors)
    history = {"metrics": checksum_of(read_metrics(run))}
    write_json(folder / "facts.json", {"version": VERSION} | facts | history)
    sealed = seal(folder, ["state.safetensors", "facts.json"])
    write_json(states / "latest.json", {"folder": folder.name, "seal": sealed})
    for other in states.glob("step-*"):
        if other.name not in (folder.name, before):
            shutil.rmtree(other, ignore_errors=True)


def load_state(run: Path, at: int | None = None) -> tuple[dict[str, Tensor], dict] | None:
    """The tensors and facts of the last complete state, or of that of step `at`; None if there is no state at all.

    Raises InputError if the state is damaged or of another version, and says which other state is whole, if one is.
    """
    states = run / "training_state"
    if at is not None:
        return read_state(run, state_of_step(run, at))
    if not (states / "latest.json").exists():
        if len(list(states.glob(f"step-*/{CHECKSUMS}"))) < 2:  # with one, the run was killed while it saved its first
            return None
        raise InputError(f"{states / 'latest.json'} is missing. {way_out(run)}")
    try:
        named = latest(states)
        folder = states / named["folder"]
        if not folder.is_dir():
            raise InputError(f"{states / 'latest.json'} is damaged: it names {folder.name}, which is not there.")
        sealed = check(folder, "")
        read_facts(run, folder)
        if sealed != named["seal"]:
            raise InputError(
                f"{folder / CHECKSUMS} is missing, or is not the one whose seal {states / 'latest.json'} has."
            )
        return read_state(run, folder)
    except AnotherEdition:
        raise
    except InputError as error:
        raise InputError(f"{str(error).strip()} {way_out(run)}") from None


class AnotherEdition(InputError):
    """The state was written by another edition of minilm: it is not damaged, and no other state of the run is better."""


def read_state(run: Path, folder: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors and facts of one state. Raises InputError."""
    facts = read_facts(run, folder)
    check(folder, "")
    lines = [line for line in read_metrics(run) if line["step"] <= steps_of(folder)]
    if facts.get("metrics") != checksum_of(lines):
        raise InputError(
            f"{run / 'metrics.jsonl'} is damaged: its lines up to step {steps_of(folder):,} have been changed."
        )
    return read_safetensors(folder / "state.safetensors"), facts


def read_facts(run: Path, folder: Path) -> dict:
    """With which options and on which text a run was begun. Raises InputError."""
    try:
        facts = dict(json.loads((folder / "facts.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{folder / 'facts.json'} is damaged ({error}).") from None
    if (found := facts.get("version", 1)) != VERSION:
        raise AnotherEdition(
            f"{run} was written by another edition of minilm (its state has version {found}, and this edition reads "
            f"version {VERSION}): begin again in another --out."
        )
    return facts


def way_out(run: Path) -> str:
    """What to do about a damaged state: the newest whole one, or another folder."""
    for folder in sorted((run / "training_state").glob("step-*"), reverse=True):
        if is_whole(run, folder):
            step = steps_of(folder)
            return f"The state of step {step:,} is whole: add --resume-at {step} to go on from it."
    return "No other state is whole: begin again in another --out."


def is_whole(run: Path, folder: Path) -> bool:
    """Whether a state has checksums, is as they say, and belongs to the metrics of its run."""
    try:
        return check(folder, "") is not None and bool(read_state(run, folder))
    except InputError:
        return False


def state_of_step(run: Path, at: int) -> Path:
    """The folder of the state of a step; of two, one that is whole. Raises InputError, with the steps that there are."""
    there = sorted(folder for folder in (run / "training_state").glob("step-*") if (folder / CHECKSUMS).exists())
    if found := [folder for folder in there if steps_of(folder) == at]:
        return next((folder for folder in found if is_whole(run, folder)), found[-1])
    steps = " and ".join(f"{steps_of(folder)}" for folder in there) or "none"
    raise InputError(f"{run / 'training_state'} holds no complete state of step {at} (there is {steps}).")


def go_back(run: Path, step: int) -> None:
    """Make the state of this step the last one. What was saved after it, damaged or not, is then no longer the run's."""
    folder = state_of_step(run, step)
    write_json(folder.with_name("latest.json"), {"folder": folder.name, "seal": check(folder, "")})


def steps_of(folder: Path) -> int:
    """The step of a state, from the name of its folder."""
    number = folder.name.removeprefix("step-").removesuffix("-again")
    if not number.isdecimal():
        raise InputError(f"{folder} is not the name of a state.")
    return int(number)


def latest(states: Path) -> dict[str, str]:
    """The name and the seal of the last complete state."""
    try:
        entries = json.loads((states / "latest.json").read_text(encoding="utf-8"))
        name, sealed = entries["folder"], entries.get("seal", "")  # older editions wrote no seal
        if not (
            isinstance(name, str) and isinstance(sealed, str) and Path(name).name == name and len(name.encode()) < 256
        ):
            raise ValueError(f"the folder {name!r} is not a name")
        return {"folder": name, "seal": sealed}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{states / 'latest.json'} is damaged ({error!r:.100}).") from None


def checksum_of(lines: list[dict]) -> str:
    """The SHA-256 of lines of metrics, as they are written."""
    return hashlib.sha256("".join(json.dumps(line) + "\n" for line in lines).encode()).hexdigest()


def start_metrics(run: Path, step: int | None = None) -> None:
    """Start with an empty `metrics.jsonl`, or, for a resumed run, with its lines up to `step`."""
    run.mkdir(parents=True, exist_ok=True)
    kept = [] if step is None else [line for line in read_metrics(run) if line["step"] <= step]
    write_text(run / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in kept))


def add_metrics(run: Path, **values) -> None:
    """Append one line to `metrics.jsonl`."""
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


def read_metrics(run: Path) -> list[dict]:
    """Every line as a dict. If a full disk has cut the last line in half, that line is left out.

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
            what = f'{path}, line {number} is broken: it is not an object with a "step"'
            raise InputError(f"{what}; delete the line, or begin again in another --out.")
        rows.append(row)
    return rows


def plain(options) -> dict:
    """A dataclass of options as it comes back from JSON."""
    return json.loads(json.dumps(asdict(options), default=str))


def check_folder(out: Path, options, state: tuple[dict, dict] | None, resume: bool) -> None:
    """Raises InputError if a run would be overwritten by accident, or resumed with other options than it was started with."""
    if not resume:
        if (out / "training_state" / "latest.json").exists():  # a killed run may have none
            raise InputError(f"{out} holds a run already: add --resume to continue it, or choose another --out.")
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


def unchanged_since_now(out: Path) -> Callable[[], None]:
    """What to call later, when no other process can write into the folder: it raises InputError if one has done so meanwhile."""
    path = out / "training_state" / "latest.json"  # which names a state and has its seal

    def now() -> bytes | None:
        return path.read_bytes() if path.exists() else None

    before = now()

    def check_again() -> None:
        if now() != before:
            raise InputError(
                f"another process has trained in {out} meanwhile: give the command again, with --resume, or choose another --out."
            )

    return check_again


def check_corpus(out: Path, prepared: Path, state: tuple[dict, dict] | None) -> None:
    """Raises InputError if the run began on another text or tokenizer: training would continue with other token ids.

    The folder `prepared` is named after the corpus and, behind the last hyphen, after all that its contents depend on.
    """
    before = str(state[1].get("corpus", prepared.name)) if state else prepared.name
    if before.rpartition("-")[2] != prepared.name.rpartition("-")[2]:
        was, now = (name.rpartition("-")[0] for name in (before, prepared.name))
        what = "the corpus or its tokenizer has been changed since" if was == now else f"it was {was} and is {now}"
        raise InputError(f"{out} was started on another text ({what}): begin in another --out.")


def snapshot(
    model: nn.Module, optimizer: Optimizer, generator: torch.Generator, progress: Progress
) -> dict[str, Tensor]:
    """Everything that the next step depends on, except its batch, which depends on the number of the step alone."""
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer.state().items()}
    tensors["progress"] = torch.tensor([progress.step, progress.tokens, progress.seconds], dtype=torch.float64)
    tensors["generator"] = generator.get_state()
    return tensors


def restore(
    out: Path,
    model: nn.Module,
    optimizer: Optimizer,
    generator: torch.Generator,
    progress: Progress,
    tensors: dict[str, Tensor],
) -> None:
    """Put a snapshot back. Raises InputError if it is damaged or belongs to another model."""

    def part(kind: str) -> dict[str, Tensor]:
        return {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}

    if not {"generator", "progress"} <= tensors.keys():
        raise InputError(f"the saved state in {out} was not written by minilm: begin again in another --out.")
    try:
        load_weights(model, part("model."), f"the saved state in {out}")
        optimizer.load_state(part("optimizer."))
        generator.set_state(tensors["generator"].cpu())
        step, tokens, progress.seconds = tensors["progress"].tolist()
        progress.step, progress.tokens = int(step), int(tokens)
        if not 0 <= progress.seconds < float("inf"):
            raise ValueError(f"{progress.seconds} seconds")
    except InputError as error:
        raise InputError(str(error) if str(out) in str(error) else f"{out / 'training_state'}: {error}") from None
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        what = f"the state in {out / 'training_state'} is broken ({str(error).splitlines()[0]})"
        raise InputError(f"{what}: begin again in another --out.") from None

"""`--mine`: train with the functions that a learner has written in place of the library's.

A function takes part if its file has passed in its present state (the checksum is that of the version that passed). It
replaces the library's function in every module that has imported it; where the library uses a faster kernel instead of the
function, the learner's function replaces the kernel, too. All this also holds in the ladder's worker processes. Afterwards,
everything is as it was before.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from minilm.errors import InputError
from minilm.exercises.catalogue import Entry, entries, load
from minilm.exercises.folder import find_folder
from minilm.exercises.learner import Unready, load as open_file
from minilm.exercises.progress import Progress
from minilm.exercises.spec import Pieces
from minilm.exercises.stub import reference
from minilm.experiments import ladder

Put = Callable[[Callable], AbstractContextManager[None]]  # a context in which the learner's function runs
NOT_OURS = ("minilm.exercises", "minilm.formulas", "minilm.bench")  # these keep the library's code


@contextmanager
def everywhere(dotted: str, new: Any) -> Iterator[None]:
    """Replace the function at `dotted` by `new` under every name that a module of the library has for it."""
    old = reference(dotted)
    swap(old, new)
    try:
        yield
    finally:
        swap(new, old)


def swap(old: Any, new: Any) -> None:
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "minilm" and not name.startswith(NOT_OURS):
            for attribute in [key for key, value in vars(module).items() if value is old]:
                setattr(module, attribute, new)


@contextmanager
def put_loss(mine: Callable) -> Iterator[None]:
    """The learner may return a plain (value, count) pair instead of a `Loss`."""
    from minilm.training.losses import Loss

    def cross_entropy(logits, labels, label_smoothing=0.0):
        value, count = mine(logits, labels, label_smoothing)
        return Loss(value, int(count))

    def vocabulary_loss(logits, labels, label_smoothing=0.0, overwrite=False):
        return cross_entropy(logits, labels, label_smoothing)

    with everywhere("minilm.training.losses.cross_entropy", cross_entropy):
        with everywhere("minilm.training.vocabulary_loss.vocabulary_loss", vocabulary_loss):
            yield


@contextmanager
def put_layer_norm(mine: Callable) -> Iterator[None]:
    from minilm.layers.normalization import LayerNorm

    def forward(self, x):
        return mine(x, self.gain, self.bias, self.epsilon)

    with patch.object(LayerNorm, "forward", forward), everywhere("minilm.layers.normalization.layer_norm", mine):
        yield


@contextmanager
def put_attention(mine: Callable) -> Iterator[None]:
    from minilm.layers.attention import causal_mask

    def fused(q, k, v, may_attend=None, bias=None, is_causal=False):
        if is_causal:  # then there is no other mask
            may_attend = causal_mask(q.size(-2), k.size(-2), q.device)
        return mine(q, k, v, may_attend, None, bias)[0]

    with everywhere("minilm.layers.attention.attention", mine):
        with everywhere("minilm.layers.attention.fused_attention", fused):
            yield


@contextmanager
def put_adamw(mine: Callable) -> Iterator[None]:
    """The exercise is in NumPy and returns new arrays: they are copied into the tensors."""
    import torch

    from minilm.training.optimizer import AdamW

    def update(self, theta, g, learning_rate, decay, t, m, v):
        arrays = [tensor.detach().cpu().numpy() for tensor in (theta, g, m, v)]
        made = mine(*arrays, t, learning_rate, decay, self.betas, self.eps)
        for tensor, array in zip((theta, m, v), made, strict=True):
            tensor.copy_(torch.as_tensor(array).to(tensor))

    with patch.object(AdamW, "update", update):
        yield


# The exercises whose functions training calls → how the function gets there; a dotted name is the function to replace.
# (If two exercises are about the same function, the later one covers more and comes last.)
TAKES_PART: dict[str, str | Put] = {
    "cross_entropy": put_loss,
    "layer_norm": put_layer_norm,
    "attention": put_attention,
    "masking": "minilm.examples.masked_lm.mask_tokens",
    "adamw": put_adamw,
    "clipping": "minilm.training.optimizer.clip_gradients",
    "label_smoothing": put_loss,
}


def passed(folder: Path) -> dict[Entry, Pieces]:
    """The learner's functions that take part, by exercise. Raises InputError if there is none."""
    if found := passing(folder):
        return found
    names = ", ".join(entry.name for entry in entries() if entry.name in TAKES_PART)
    raise InputError(f"--mine trains with your code, but none of {names} has passed yet in {folder}: check one first.")


def passing(folder: Path) -> dict[Entry, Pieces]:
    progress = Progress(find_folder(folder))
    found: dict[Entry, Pieces] = {}
    for entry in entries():
        if entry.name in TAKES_PART and progress.state(entry)[0] == "passed":
            try:
                found[entry] = open_file(load(entry.name), progress.file(entry))
            except Unready as unready:
                raise InputError(f"{progress.file(entry)} passed before, but now: {' '.join(unready.lines)}") from None
    return found


@contextmanager
def mine(folder: Path, say: Callable[[str], None] = print) -> Iterator[dict[str, int]]:
    """A context in which the learner's functions run; it yields the number of calls of each."""
    found = passed(folder)
    names = {entry.name for entry in found}
    library = [entry.name for entry in entries() if entry.name in TAKES_PART.keys() - names]
    with in_place(found) as calls, in_workers(folder.resolve(), names, calls):
        say(f"training with your own code: {', '.join(calls)}")
        if library:
            say(f"with the library's code, because yours has not passed yet: {', '.join(library)}")
        yield calls
        say("calls of your code: " + ", ".join(f"{name} {count:,}" for name, count in calls.items()))


@contextmanager
def in_place(found: dict[Entry, Pieces]) -> Iterator[dict[str, int]]:
    """Put each function in its place; yields the number of calls of each."""
    shadowed = {"cross_entropy"} if any(entry.name == "label_smoothing" for entry in found) else set()
    calls = {entry.name: 0 for entry in found if entry.name not in shadowed}
    with ExitStack() as stack:
        for entry, pieces in found.items():
            if entry.name in calls:
                function = counted(entry, next(iter(pieces.values())), calls)
                how = TAKES_PART[entry.name]
                stack.enter_context(everywhere(how, function) if isinstance(how, str) else how(function))
        yield calls


@contextmanager
def in_workers(folder: Path, names: set[str], calls: dict[str, int]) -> Iterator[None]:
    """Use the learner's functions in the ladder's worker processes as well, and add up the calls made there."""
    library_pool_of = ladder.pool_of

    @contextmanager
    def pool_of(workers: int) -> Iterator[Callable]:
        with library_pool_of(workers) as submit:

            def hand_over(function: Callable, *arguments: Any) -> Callable[[], Any]:
                waiting: Callable[[], Any] = submit(in_a_worker, folder, names, function, *arguments)

                def wait() -> Any:
                    value, more = waiting()
                    for name, count in more.items():
                        calls[name] += count
                    return value

                return wait

            yield submit if workers == 1 else hand_over  # with one worker, all runs in this process

    with patch.object(ladder, "pool_of", pool_of):
        yield


def in_a_worker(folder: Path, names: set[str], function: Callable, *arguments: Any) -> tuple[Any, dict[str, int]]:
    """Run one fit with the functions of that folder. Raises InputError if one has changed since the training began."""
    found = passing(folder)
    if gone := names - {entry.name for entry in found}:
        raise InputError(f"{', '.join(sorted(gone))} changed in {folder} during the training: check it, then resume.")
    with in_place({entry: pieces for entry, pieces in found.items() if entry.name in names}) as calls:
        return function(*arguments), calls


def counted(entry: Entry, function: Callable, calls: dict[str, int]) -> Callable:
    """The learner's function, which now counts its calls; an error becomes one sentence that names the function."""

    @functools.wraps(function)
    def theirs(*args, **kwargs):
        calls[entry.name] += 1
        try:
            return function(*args, **kwargs)
        except InputError:
            raise
        except Exception as error:
            what = " ".join(f"{type(error).__name__}: {error}".split())
            file = Path(inspect.unwrap(function).__code__.co_filename).name
            raise InputError(f"your {entry.name} ({file}) failed during the training: {what[:200]}") from error

    return theirs

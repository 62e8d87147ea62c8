"""`--mine`: training with the pieces that a learner has written, in the place of the library's.

A piece takes part when its file passes as it is now (its checksum is that of the version that passed). It stands in for the
library's function in every module that has imported it, and whatever hides the function behind a faster kernel is led back
to it. The fits of the ladder run in processes of their own, and there it is the same. Afterwards everything is as it was.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from minilm.errors import InputError
from minilm.exercises.catalogue import Entry, entries, load
from minilm.exercises.folder import settled
from minilm.exercises.learner import Unready, load as open_file
from minilm.exercises.progress import Progress
from minilm.exercises.spec import Pieces
from minilm.exercises.stub import reference
from minilm.jobs import ladder

Put = Callable[[Callable], Iterator[None]]  # a context in which the learner's function is the one that runs
NOT_OURS = ("minilm.exercises", "minilm.formulas", "minilm.bench")  # what judges and is shown stays the library's


@contextmanager
def everywhere(dotted: str, new: Any) -> Iterator[None]:
    """`new` in the place of what stands at `dotted`, under every name by which a module of ours has it."""
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
    """A pair is as good as a `Loss`."""
    from minilm.training.losses import Loss

    def cross_entropy(logits, labels, label_smoothing=0.0):
        value, count = mine(logits, labels, label_smoothing)
        return Loss(value, int(count))

    with everywhere("minilm.training.losses.cross_entropy", cross_entropy):
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
    def fused(q, k, v, may_attend=None):
        return mine(q, k, v, may_attend, None)[0]

    with everywhere("minilm.layers.attention.attention", mine):
        with everywhere("minilm.layers.attention.fused_attention", fused):
            yield


@contextmanager
def put_adamw(mine: Callable) -> Iterator[None]:
    """The exercise is written in NumPy and returns what is new: it gets arrays, and the tensors get what it returns."""
    import torch

    from minilm.training.optimizer import AdamW

    def update(self, theta, g, rate, decay, t, m, v):
        arrays = [tensor.detach().cpu().numpy() for tensor in (theta, g, m, v)]
        made = mine(*arrays, t, rate, decay, self.betas, self.eps)
        for tensor, array in zip((theta, m, v), made, strict=True):
            tensor.copy_(torch.as_tensor(array).to(tensor))

    with patch.object(AdamW, "update", update):
        yield


# What training calls: exercise → how its first function gets there. A dotted name: in the place of the library's own.
# (Of two exercises on the same function the later one knows more, and is put there last.)
TAKES_PART: dict[str, str | Put] = {
    "cross_entropy": put_loss,
    "layer_norm": put_layer_norm,
    "attention": put_attention,
    "masking": "minilm.examples.masked_lm.mask_words",
    "adamw": put_adamw,
    "clipping": "minilm.training.optimizer.clip_gradients",
    "label_smoothing": put_loss,
}


def passed(folder: Path) -> dict[Entry, Pieces]:
    """The learner's pieces that take part and whose files pass as they are. Raises InputError when there is none."""
    if found := passing(folder):
        return found
    names = ", ".join(entry.name for entry in entries() if entry.name in TAKES_PART)
    raise InputError(f"--mine trains with what you have written, but in {folder} none of {names} has passed yet.")


def passing(folder: Path) -> dict[Entry, Pieces]:
    progress = Progress(settled(folder))
    found: dict[Entry, Pieces] = {}
    for entry in entries():
        if entry.name in TAKES_PART and progress.state(entry)[0] == "passed":
            try:
                found[entry] = open_file(load(entry.name), progress.file(entry))
            except Unready as unready:
                raise InputError(f"{progress.file(entry)} has passed, but now: {' '.join(unready.lines)}") from None
    return found


@contextmanager
def mine(folder: Path, say: Callable[[str], None] = print) -> Iterator[dict[str, int]]:
    """While it is open, the learner's pieces are the ones that run; it gives how often each was called."""
    found = passed(folder)
    names = {entry.name for entry in found}
    library = [entry.name for entry in entries() if entry.name in TAKES_PART.keys() - names]
    with in_place(found) as calls, in_workers(folder.resolve(), names, calls):
        say(f"trained with your own: {', '.join(calls)}")
        if library:
            say(f"with the library's, because yours have not passed yet: {', '.join(library)}")
        yield calls
        say("calls of your code: " + ", ".join(f"{name} {count:,}" for name, count in calls.items()))


@contextmanager
def in_place(found: dict[Entry, Pieces]) -> Iterator[dict[str, int]]:
    """The pieces, each where it belongs; gives how often each was called."""
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
    """What the ladder hands to another process takes the pieces along, and brings the number of calls back."""
    plain = ladder.pool_of

    @contextmanager
    def pool_of(workers: int) -> Iterator[Callable]:
        with plain(workers) as submit:

            def hand_over(function: Callable, *arguments: Any) -> Callable[[], Any]:
                waiting = submit(in_a_worker, folder, names, function, *arguments)

                def wait() -> Any:
                    value, more = waiting()
                    for name, count in more.items():
                        calls[name] += count
                    return value

                return wait

            yield submit if workers == 1 else hand_over  # one at a time is here, where the pieces are already

    with patch.object(ladder, "pool_of", pool_of):
        yield


def in_a_worker(folder: Path, names: set[str], function: Callable, *arguments: Any) -> tuple[Any, dict[str, int]]:
    """One fit, with the pieces of that folder. Raises InputError when they are no longer those with which it began."""
    found = passing(folder)
    if gone := names - {entry.name for entry in found}:
        raise InputError(f"{', '.join(sorted(gone))} changed in {folder} while it was training: check it, then go on.")
    with in_place({entry: pieces for entry, pieces in found.items() if entry.name in names}) as calls:
        return function(*arguments), calls


def counted(entry: Entry, function: Callable, calls: dict[str, int]) -> Callable:
    """The learner's function; it counts its calls, and when it stops, says in one sentence whose it was."""

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
            raise InputError(f"your {entry.name} ({file}) stopped in training: {what[:200]}") from error

    return theirs

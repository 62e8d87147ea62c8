"""What the last digits of a run depend on besides its options: who multiplies matrices, and in how many threads.  F03.

A run keeps both among the facts of its state, so that it can go on bit for bit. Another number of threads is only said, because the
next machine may have fewer cores; another library is refused, because one word in front of the command brings the first one back.
"""

from pathlib import Path

import torch

from minilm.errors import InputError
from minilm.files.notes import Note
from minilm.layers.products import PRODUCTS, VARIABLE, chosen_products
from minilm.training.team import Team


def check_products(out: Path, state: tuple[dict, dict] | None) -> dict[str, str]:
    """Who multiplies here, as a fact to save. Raises InputError if the run was started with another library, whose sums differ in
    their last digits. A state that does not say it is from an edition that knew only PyTorch's own choice."""
    now = chosen_products()
    before = state[1].get("products", "torch") if state else now
    if before == now:
        return {"products": now}
    what = f"{out} was started with products by {before} and is resumed with products by {now}"
    if before not in PRODUCTS:
        raise InputError(f"{what}: begin again in another --out.")
    raise InputError(
        f'{what}: put {VARIABLE}={before} in front of the command, or in Python, resume inside products("{before}").'
    )


def check_team_products(team: Team) -> None:
    """Raises InputError in every process if they do not all multiply by the same library."""
    by_onednn = int(team.total(torch.tensor([int(chosen_products() == "onednn")])))
    if 0 < by_onednn < team.size:
        raise InputError(
            f"{by_onednn} of {team.size} processes multiply by onednn: set {VARIABLE} to the same in all of them."
        )


def check_threads(out: Path, state: tuple[dict, dict] | None, note: Note) -> dict[str, int]:
    """The number of threads as a fact to save. If the run was started with another number, a `note` says so: sums are then
    added in another order, and the weights differ in their last digits from those of an uninterrupted run."""
    now = torch.get_num_threads()
    before = state[1].get("threads", now) if state else now
    if before != now:
        note(
            f"{out} was started with {before} threads and goes on with {now}: the weights will differ in their last digits "
            f"from those of an uninterrupted run. With OMP_NUM_THREADS={before} in front of the command they do not."
        )
    return {"threads": now}

r"""Several processes that train one model, on one machine or on many: `torchrun … -m minilm pretrain`.  F03.

Letters:  W processes, numbered r = 0 … W − 1 · A batches of one step · n_i the labels of batch i that count, N = Σᵢ n_i

    g = Σᵢ (n_i / N) gᵢ          with gᵢ the gradient of the mean loss of batch i

Process r takes the batches r, r + W, r + 2W … of a step, which hold rows of like length (`batches_of_like_length`), so that no
process waits long for another. Every label counts the same, whichever batch it is in, so g is the gradient of all A batches as
one. PyTorch's DistributedDataParallel averages the gradients of the processes while they are still being computed; it divides
by W, so each loss is multiplied by W before. Processes on this machine's cores talk by gloo, those on graphics cards by nccl.
Process 0 leads: it prepares, measures, saves and speaks.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from minilm.errors import InputError


@dataclass(frozen=True)
class Team:
    """This process and how many there are. A team of one needs no other process, and none of its methods does anything."""

    rank: int = 0
    size: int = 1
    device: torch.device | None = None  # the graphics card of this process, if there is one for each

    @property
    def leads(self) -> bool:
        """Whether this process measures, saves and speaks."""
        return self.rank == 0

    def in_words(self, batches: int) -> str:
        """As " in 2 processes, 4 batches per step"; empty for one of each."""
        return f" in {self.size} processes" * (self.size > 1) + f", {batches} batches per step" * (batches > 1)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """What stands in the `with` is done by process 0 and then by the others, which find on disk what it has prepared."""
        if self.size > 1 and not self.leads:
            distributed.barrier()
        yield
        if self.size > 1:
            if self.leads:
                distributed.barrier()
            distributed.barrier()  # nobody goes on before all are here

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of what the processes hold."""
        if self.size > 1:
            numbers = numbers.to(self.device or "cpu")
            distributed.all_reduce(numbers)
        return numbers.cpu()

    def agree(self, seconds: float, stop: bool) -> tuple[float, bool]:
        """The seconds of process 0, and whether any process was told to stop: all must do the same at the same step."""
        said = self.total(torch.tensor([seconds if self.leads else 0.0, float(stop)], dtype=torch.float64))
        return float(said[0]), bool(said[1] > 0)

    def shared(self, model: nn.Module) -> nn.Module:
        """The model, with gradients that are averaged over the processes during `backward`."""
        if self.size == 1:
            return model
        devices = None if self.device is None else [self.device]
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)

    def alone(self, shared: nn.Module) -> AbstractContextManager:
        """A `with` in which gradients are added up in this process and not yet averaged."""
        return shared.no_sync() if isinstance(shared, nn.parallel.DistributedDataParallel) else nullcontext()

    def share(self, batches: int) -> range:
        """Which of the batches of a step this process takes. Raises InputError if they cannot be shared out evenly."""
        if batches % self.size:
            raise InputError(
                f"{batches} batches per step cannot be shared by {self.size} processes: begin a run whose --accumulate is a "
                f"multiple of {self.size}."
            )
        return range(self.rank, batches, self.size)


@contextmanager
def joined() -> Iterator[Team]:
    """The team that `torchrun` has started this process for, or a team of one.

    Raises InputError in a process whose team has lost another one: what went wrong is said there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    cards, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cards >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 0 else None
    settings: dict[str, Any] = {} if device is None else {"device_id": device}
    distributed.init_process_group("gloo" if device is None else "nccl", **settings)
    team = Team(distributed.get_rank(), size, device)
    try:
        yield team
    except RuntimeError as error:  # gloo and nccl report a lost process in many ways
        if team.leads or "memory" in str(error):
            raise
        raise InputError(f"process {team.rank} ends, because it has lost another one.") from None
    finally:
        distributed.destroy_process_group()

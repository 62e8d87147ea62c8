"""The training run that all objectives share: optimizer, generator, resuming, reports, saving and Ctrl-C.  F02, F03."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError, check_least
from minilm.examples.batching import Batch, hash_of
from minilm.files.lock import alone_in
from minilm.layers.dropout import use_generator
from minilm.training.loop import Diverged, LearningRate, Progress, Step, train
from minilm.training.muon import Muon, matrix_groups
from minilm.training.objective import Accumulable, Objective
from minilm.training.optimizer import AdamW, parameter_groups
from minilm.training.precision import in_precision
from minilm.training.schedule import Budget
from minilm.training.state import add_metrics, go_back, read_metrics, restore, save_state, snapshot, start_metrics
from minilm.training.team import Team


@dataclass(frozen=True)
class Optimisation:
    """How the weights are updated: by AdamW, with these learning rates, this weight decay and this clipping.

    With a `muon_learning_rate` above 0, the matrices of the blocks are updated by Muon, at this peak and on the same schedule.
    Raises InputError for a value outside its range.
    """

    learning_rate: LearningRate
    weight_decay: float = 0.01
    embedding_learning_rate_scale: float = 1.0
    layer_decay: float = 1.0
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    muon_learning_rate: float = 0.0
    scales: Mapping[str, float] = field(default_factory=dict)
    """Further factors of the learning rate, by how the names of parameters begin: {"crf.": 10}."""

    def __post_init__(self) -> None:
        check_least(self, 0, "embedding_learning_rate_scale", "weight_decay", "muon_learning_rate")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay must be above 0 and at most 1 (1 means none), not {self.layer_decay}.")
        if not self.clip > 0:
            raise InputError(f"clip must be above 0, not {self.clip}.")
        self.learning_rate.at(0)  # the schedule raises InputError for an impossible warm-up


class TrainingRun:
    """A model in training: its objective, its batches, its budget, and how far it has come.

        run = TrainingRun(model, CausalLM(), batches.__getitem__, Budget(steps=1000), Optimisation(LearningRate(1e-3)))
        run.train()

    `batch_at(step)` returns the batch of a step. The same seed gives the same model, bit for bit, on the same number of
    threads. So does a run that was stopped, saved by `snapshot` and resumed by `restore`, provided that `batch_at` depends
    on nothing but the number of the step.

    With `accumulate`, every step learns from so many batches as if they were one, and the processes of a `team` share them out: the
    batches of step s are s · accumulate, s · accumulate + 1 and so on. The random numbers of dropout then depend on the batch
    alone. With the `precision` "bf16", products are computed in it (`training/precision.py`). Raises InputError for an objective
    that has no `parts`, for batches that cannot be shared out evenly, and for a precision that the device does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        batch_at: Callable[[int], Batch],
        budget: Budget,
        optimisation: Optimisation,
        seed: int = 0,
        device: torch.device | None = None,
        clock: Callable[[], float] = time.perf_counter,
        accumulate: int = 1,
        team: Team | None = None,
        precision: str = "float32",
    ):
        self.device = device or torch.device("cpu")
        self.model, self.objective, self.batch_at = model.to(self.device), objective, batch_at
        self.budget, self.optimisation, self.progress, self.clock = budget, optimisation, Progress(), clock
        self.seed, self.accumulate, self.team = seed, accumulate, team or Team()
        self.mine, self.shared = self.team.share(accumulate), self.team.shared(self.model)
        self.called = in_precision(self.shared, precision, self.device)
        if accumulate > 1 and not isinstance(objective, Accumulable):
            raise InputError(f"{type(objective).__name__} cannot be learned from several batches per step.")
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        use_generator(model, self.generator)
        o = optimisation
        groups = parameter_groups(model, o.weight_decay, o.embedding_learning_rate_scale, o.layer_decay, o.scales)
        self.optimizer = AdamW(groups, betas=o.betas, eps=o.eps)
        if o.muon_learning_rate:
            groups = matrix_groups(groups, model, o.muon_learning_rate / o.learning_rate.peak)
            self.optimizer = Muon(groups, betas=o.betas, eps=o.eps)

    def step_at(self, step: int) -> Step:
        """The loss of one step."""
        p = self.progress
        objective = self.objective.at(self.budget.progress(p.step, p.tokens, p.seconds))
        if self.accumulate == 1:
            return objective.step(self.called, self.batch_at(step).to(self.device))
        return self.over_several(objective, step)

    def over_several(self, objective: Any, step: int) -> Step:
        """A step over `accumulate` batches, of which this process takes its share. The loss that is returned is that of its
        last batch; those before it have left their gradients already."""
        batches = [self.batch_at(step * self.accumulate + i).to(self.device) for i in self.mine]
        own = torch.tensor([[*objective.counts(batch), batch.tokens] for batch in batches]).sum(dim=0)
        *counts, tokens = self.team.total(own).tolist()
        shown: dict[str, Tensor] = {}
        for i, batch in zip(self.mine, batches, strict=True):
            self.generator.manual_seed(hash_of(self.seed, step, i))  # the same draws, whichever process takes the batch
            last = batch is batches[-1]
            with nullcontext() if last else self.team.alone(self.shared):
                parts = objective.parts(self.called, batch)
                shares = [part.count / max(N, 1) for (_, part), N in zip(parts.values(), counts, strict=True)]
                values = [
                    weight * part.value * share for (weight, part), share in zip(parts.values(), shares, strict=True)
                ]
                loss = self.team.size * torch.stack(values).sum()
                if not last:
                    loss.backward()
            shown |= {name: part.value.detach() for name, (_, part) in parts.items() if part.count}
        return Step(loss, shown, tokens)

    def train(
        self,
        pause_at: Iterable[float] = (),
        on_pause: Callable[[Progress], bool | None] | None = None,
        title: str = "training",
        bar: bool = True,
    ) -> Progress:
        """Train until the budget is used up, and return how far the run came; see `train` in `training/loop.py`."""
        o = self.optimisation
        return train(
            *(self.model, self.optimizer, self.step_at, self.budget, o.learning_rate, o.clip),
            *(self.progress, pause_at, on_pause, title, bar and self.team.leads, self.clock),
            agree=self.team.agree if self.team.size > 1 else None,
        )

    @property
    def done(self) -> bool:
        """Whether the budget is used up. After Ctrl-C it usually is not."""
        return self.budget.done(self.progress.step, self.progress.tokens, self.progress.seconds)

    def snapshot(self) -> dict[str, Tensor]:
        """Everything that `restore` needs: weights, optimizer, generator and progress, as a flat dict of tensors."""
        return snapshot(self.model, self.optimizer, self.generator, self.progress)

    def restore(self, out: Path, tensors: dict[str, Tensor]) -> None:
        """Continue from a `snapshot`. Raises InputError, which names the folder `out`, if the tensors are damaged."""
        restore(out, self.model, self.optimizer, self.generator, self.progress, tensors)

    def train_in(
        self,
        out: Path,
        held_out: list[Batch],
        save_model: Callable[[], None],
        facts: dict,
        state: dict[str, Tensor] | None = None,
        evaluations: int = 12,
        title: str = "training",
        bar: bool = True,
        say: Callable[[str], None] = print,
        on_report: Callable[[dict], None] | None = None,
        first: Iterable[Callable[[], None]] = (),
    ) -> dict[str, float]:
        """Train in the run folder `out`, from `state` if it is given, and return the last measurement.

        Before the first step, `evaluations` times over the run, and after Ctrl-C, the model is measured on `held_out`, saved,
        and reported to `say` and `on_report`. `facts` are stored with the state, so that a resumed run can be compared with
        them. Raises KeyboardInterrupt after Ctrl-C, so that nothing that follows takes an unfinished model for a finished one;
        raises InputError if another process trains in `out`, or if the run diverges. What is in `first` is called as soon as no
        other process can write there; if it raises an error, the run ends before it has written anything.
        """
        if not self.team.leads:  # it neither measures nor saves
            if state is not None:
                self.restore(out, state)
            self.train([i / evaluations for i in range(1, evaluations)], None, title, bar)
            if not self.done:
                raise KeyboardInterrupt
            return {}
        with alone_in(out):
            for call in first:
                call()
            return self.train_alone_in(out, held_out, save_model, facts, state, evaluations, title, bar, say, on_report)

    def train_alone_in(
        self, out, held_out, save_model, facts, state, evaluations, title, bar, say, on_report
    ) -> dict[str, float]:
        """`train_in`, once nobody else can write into `out`."""
        progress = self.progress
        if state is not None:
            self.restore(out, state)
            go_back(out, progress.step)
        start_metrics(out, progress.step if state is not None else None)

        saved = progress.step  # of the state that a run which diverges can be resumed from

        def report(_: Progress | None = None) -> None:
            nonlocal saved
            where = {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1)}
            measured = where | self.objective.measure(self.model, held_out)
            add_metrics(out, **measured)
            save_state(out, progress.step, self.snapshot(), facts)
            save_model()
            saved = progress.step
            if on_report:
                on_report(measured)
            minutes, summary = progress.seconds / 60, self.objective.summary(measured)
            say(f"{minutes:5.1f} min  step {progress.step:6,}  {summary}")

        if state is not None:
            save_model()  # the run may have been killed between its state and its model
        if not read_metrics(out):
            report()
        try:
            self.train([i / evaluations for i in range(1, evaluations)], report, title, bar)
        except Diverged as error:
            raise InputError(
                f"{error} The state of step {saved} is saved in {out}: the same command with --resume goes on from there, and "
                f"meets the same batch, number {error.step}, again."
            ) from None
        if not self.done:
            say(
                f"stopped at step {progress.step:,}; everything is saved. To go on, give the same command with --resume."
            )
            raise KeyboardInterrupt
        return read_metrics(out)[-1]

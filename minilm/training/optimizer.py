r"""Gradient descent with momentum, Adam and AdamW; the learning rate of each parameter; clipping.  F03.

Letters:  θ parameter · g its gradient · η learning rate · λ weight decay · μ momentum · m, v running means of g and g² ·
          t the number of steps that this parameter has taken

The optimizers know no schedule: `step(learning_rate)` is told the learning rate of this step. They work in place, one
tensor after another. A tensor without a gradient (a frozen layer, an unused head) does not change, not even by decay.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError

BLOCK = 2**17  # numbers, half a megabyte


class Optimizer:
    """What all optimizers share: groups of parameters, and a memory that can be saved and loaded.

    `groups` is a list of dicts (`parameter_groups` makes one from a model):
        params        the tensors
        scale         multiplies the learning rate for this group; 1.0 if not given
        weight_decay  λ for this group; 0.0 if not given
        names         one per tensor, under which `state` stores its memory; their positions if not given

    Raises:
        InputError: there are no parameters at all, or one of them is in the groups twice.
    """

    remembers: Sequence[str] = ()  # the letters kept for each parameter, all of its shape

    def __init__(self, groups: Iterable[dict[str, Any]]):
        self.groups = [
            {"scale": 1.0, "weight_decay": 0.0, **group, "params": list(group["params"])} for group in groups
        ]
        where = [(parameter, group) for group in self.groups for parameter in group["params"]]
        parameters = [parameter for parameter, _ in where]
        if not parameters:
            raise InputError("the optimizer got no parameters: perhaps all parameters of the model are frozen.")
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise InputError("a parameter is in the optimizer's groups twice, so it would take two steps at once.")
        self.names: list[str] = []
        position = 0
        for group in self.groups:
            count = len(group["params"])
            self.names += group.get("names") or [str(position + i) for i in range(count)]
            position += count
        self.steps = [0] * len(parameters)
        self.memory = [{letter: torch.zeros_like(p) for letter in self.remembered(group)} for p, group in where]

    def remembered(self, group: dict[str, Any]) -> Sequence[str]:
        """The letters that are kept for the parameters of a group: the same for all, in most optimizers."""
        return self.remembers

    def update(self, *step: Any, **memory: Any) -> None:
        """One step for one tensor or a block of it, in place: the formula, element by element.

        It is called as `update(theta, g, learning_rate, decay, t, …)`, with what it remembers by its letters.
        """
        raise NotImplementedError

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update every parameter that has a gradient; `learning_rate` is η before it is multiplied by a group's scale."""
        i = 0
        for group in self.groups:
            for theta in group["params"]:
                if (g := theta.grad) is not None:
                    self.steps[i] += 1
                    self.move(theta, g, group, learning_rate * group["scale"], self.steps[i], self.memory[i])
                i += 1

    def move(
        self, theta: Tensor, g: Tensor, group: dict[str, Any], learning_rate: float, t: int, memory: dict[str, Tensor]
    ) -> None:
        """One step for one parameter: `update` for each of its blocks."""
        for part, slope, *pieces in in_blocks(theta, g, *memory.values()):
            self.update(part, slope, learning_rate, group["weight_decay"], t, **dict(zip(memory, pieces, strict=True)))

    def zero_grad(self) -> None:
        """Drop the gradients. The next `backward` then writes new ones instead of adding to zeros."""
        for group in self.groups:
            for theta in group["params"]:
                theta.grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as a flat dict of copies: `steps`, one per parameter, and `m.<name>` and so on."""
        tensors = {
            f"{letter}.{name}": tensor.clone()
            for name, memory in zip(self.names, self.memory, strict=True)
            for letter, tensor in memory.items()
        }
        return {"steps": torch.tensor(self.steps), **tensors}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state`, bit for bit.

        Raises:
            InputError: the state belongs to another model or another optimizer. Nothing has changed then.
        """
        own = self.state()
        if different := sorted(own.keys() ^ state.keys()):
            where = "lacks" if different[0] in own else "has an unknown"
            raise InputError(f"the optimizer's saved state {where} {different[0]!r}: it belongs to another model.")
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                raise InputError(
                    f"the optimizer's saved {name!r} has the shape {list(state[name].shape)} and not "
                    f"{list(tensor.shape)}: it belongs to another model."
                )
        self.steps = state["steps"].tolist()
        for name, memory in zip(self.names, self.memory, strict=True):
            for letter, tensor in memory.items():
                tensor.copy_(state[f"{letter}.{name}"])


def in_blocks(*tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of one shape, all cut into the same blocks (views), which stay in the processor's cache from one line of a
    formula to the next. The numbers are the same, and the table of a large vocabulary takes a third less time."""
    large = tensors[0].numel() > BLOCK and tensors[0].device.type == "cpu"
    if not large or not all(each.is_contiguous() for each in tensors):
        return [tensors]
    return zip(*(each.view(-1).split(BLOCK) for each in tensors), strict=True)


class SGD(Optimizer):
    r"""g ← g + λθ;  m ← μm + g;  θ ← θ − ηm.  F03 as printed with μ = λ = 0.

    This is PyTorch's convention: the learning rate is outside the velocity m, so a change of it acts at once. Sutskever et
    al. (2013), On the importance of initialization and momentum, put it inside: m ← μm − ηg, θ ← θ + m.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], momentum: float = 0.0):
        self.momentum = momentum
        self.remembers = ("m",) if momentum else ()
        super().__init__(groups)

    def update(self, theta, g, learning_rate, decay, t, m=None):
        if decay:
            g = g.add(theta, alpha=decay)
        if m is not None:
            g = m.mul_(self.momentum).add_(g)
        theta.sub_(g, alpha=learning_rate)


class Adam(Optimizer):
    r"""m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  θ ← θ − η m̂ / (√v̂ + ε),  m̂ = m/(1 − β₁ᵗ),  v̂ = v/(1 − β₂ᵗ).  F03.

    m and v start at 0; dividing by 1 − βᵗ removes that bias. The decay is L2: λθ is added to g and therefore divided by √v̂
    as well, which makes the decay weakest where gradients are large. `AdamW` corrects that.
    Source: Kingma and Ba (2015), Adam, algorithm 1.
    """

    remembers = ("m", "v")

    def __init__(self, groups: Iterable[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
        self.betas, self.eps = betas, eps
        super().__init__(groups)

    def update(self, theta, g, learning_rate, decay, t, m, v):
        if decay:
            g = g.add(theta, alpha=decay)
        self.adaptive_step(theta, g, learning_rate, t, m, v)

    def adaptive_step(self, theta: Tensor, g: Tensor, learning_rate: float, t: int, m: Tensor, v: Tensor) -> None:
        b1, b2 = self.betas
        m.lerp_(g, 1 - b1)  # m + (1 − β₁)(g − m)
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        # m̂/(√v̂ + ε) with the factors √(1 − β₂ᵗ) and 1 − β₁ᵗ taken out of the tensors: one pass over the memory less
        root = math.sqrt(1 - b2**t)
        theta.addcdiv_(m, v.sqrt().add_(self.eps * root), value=-learning_rate * root / (1 - b1**t))


class AdamW(Adam):
    r"""θ ← θ − ηλθ, and then the step of `Adam` without decay.  F03.

    The decay is decoupled from the gradient and multiplied by the learning rate (η times the group's scale).
    Source: Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization, algorithm 2.
    """

    def update(self, theta, g, learning_rate, decay, t, m, v):
        if decay:
            theta.mul_(1 - learning_rate * decay)
        self.adaptive_step(theta, g, learning_rate, t, m, v)


def parameter_groups(
    model: nn.Module,
    weight_decay: float = 0.0,
    embedding_learning_rate_scale: float = 1.0,
    layer_decay: float = 1.0,
    scales: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    r"""A model's parameters, each tensor once, grouped by weight decay and by the scale of the learning rate.

    * Biases and the gains of norms (everything that is 1-d) do not decay, because large ones do not make a model overfit.
      Nor does what belongs to a module with `decays = False`.
    * The tables of `nn.Embedding` learn at `embedding_learning_rate_scale` times the learning rate, even if one of them is
      also the output matrix.
    * `layer_decay` d makes low layers learn more slowly than high ones. With the depth i that `model.depth_of(name)` gives
      (0 for embeddings, n for the last of n layers) the scale is d^(n−i); heads lie behind the last layer and have scale 1.
      Source: Howard and Ruder (2018), ULMFiT, §3.2.
    * `scales` has further factors of the learning rate by how the names of parameters begin: {"crf.": 10}.
    * Frozen parameters are left out.

    Raises:
        InputError: `weight_decay` or a scale is negative, `layer_decay` is not in (0, 1], or it is below 1 for a model that
            does not say how deep its parameters lie.
    """
    given = {"weight_decay": weight_decay, "embedding_learning_rate_scale": embedding_learning_rate_scale}
    scales = scales or {}
    given |= {f"the learning rate's scale for {prefix}": scale for prefix, scale in scales.items()}
    for name, value in given.items():
        if value < 0:
            raise InputError(f"{name} must be at least 0, not {value}.")
    if not 0 < layer_decay <= 1:
        raise InputError(f"layer_decay must be above 0 and at most 1 (1 means none), not {layer_decay}.")
    tables = {id(p) for module in model.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    steady = {id(p) for module in model.modules() if not getattr(module, "decays", True) for p in module.parameters()}
    depth, n = depths_of(model) if layer_decay < 1 else ({}, 0)

    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        scale = embedding_learning_rate_scale if id(parameter) in tables else 1.0
        scale *= layer_decay ** (n - min(depth.get(name, n), n))
        scale *= math.prod(factor for prefix, factor in scales.items() if name.startswith(prefix))
        decay = weight_decay if parameter.ndim > 1 and id(parameter) not in steady else 0.0
        group = groups.setdefault((scale, decay), {"params": [], "names": [], "scale": scale, "weight_decay": decay})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def depths_of(model: nn.Module) -> tuple[dict[str, float], int]:
    """The depth of every parameter by name, and the depth n of the last layer. Raises InputError if the model has no depths."""
    depth_of: Any = getattr(model, "depth_of", None)
    if depth_of is None:
        raise InputError(
            f"layer_decay needs a model that says how deep its parameters lie: {type(model).__name__} has no depth_of."
        )
    depth = {name: depth_of(name) for name, _ in model.named_parameters()}
    return depth, int(max((d for d in depth.values() if d < math.inf), default=0))


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> float:
    r"""g ← g · min(1, c/(‖g‖ + 10⁻⁶)) with ‖g‖ = √Σ g² over all gradients together; the norm *before* clipping.

    One common factor keeps the direction of the step. A norm of inf or NaN is returned too, so that the caller can see it.
    Source: Pascanu, Mikolov and Bengio (2013), On the difficulty of training recurrent neural networks, algorithm 1.

    Raises:
        InputError: `max_norm` is not positive.
    """
    if not max_norm > 0:
        raise InputError(f"max_norm is {max_norm}; give a positive number, or do not clip.")
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return 0.0
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm().item()
    factor = max_norm / (norm + 1e-6)
    if not factor >= 1:  # most steps need no clipping, and then no pass over the gradients
        for gradient in gradients:
            gradient.mul_(factor)
    return norm

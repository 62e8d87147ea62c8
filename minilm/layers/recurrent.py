r"""Recurrent cells and stacks of recurrent layers.  F09, F10, F15, F16.

Letters:  B batch · T steps · I input size · H hidden size (there are no heads here) · G = gates·H rows of weights
          xₜ input · hₜ state · cₜ memory of the LSTM · aₜ = W_x xₜ + b · σ logistic function (in F09 any activation)
          R = layers·directions · Y = directions·H
Sources:  Elman (1990), Finding Structure in Time; Hochreiter & Schmidhuber (1997), Long Short-Term Memory, with the
          forget gate of Gers et al. (2000); Cho et al. (2014), Learning Phrase Representations (the GRU).

F10, yₜ = softmax(W_y hₜ + b_y), is an `nn.Linear` on the outputs; its softmax is part of the loss.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.dropout import Dropout
from minilm.layers.products import by_onednn, linear, takes_onednn

Random = torch.Generator | None
State = tuple[Float[Tensor, "B H"], ...]  # what one step passes to the next: (h,), or (h, c) for an LSTM


class _Cell(nn.Module):
    """What all cells share: the weights W_x [G, I], W_h [G, H], b [G], and the product with the input.

    The initial weights are uniform in ±1/√H, so that a sum over H states stays of order 1; the biases are zero.
    """

    gates: int
    states = 1
    step: Callable[..., State]  # (a, *state) → the next state

    def __init__(self, input_size: int, hidden_size: int, generator: Random = None):
        super().__init__()
        if min(input_size, hidden_size) < 1:
            raise InputError(f"input size {input_size} and hidden size {hidden_size} must both be at least 1")
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        self.hidden_size = hidden_size
        self.W_x = nn.Parameter(torch.empty(rows, input_size).uniform_(-bound, bound, generator=generator))
        self.W_h = nn.Parameter(torch.empty(rows, hidden_size).uniform_(-bound, bound, generator=generator))
        self.b = nn.Parameter(torch.zeros(rows))

    def forward(self, x: Float[Tensor, "B I"], *state: Float[Tensor, "B H"]) -> Float[Tensor, "B H"] | State:
        """One step that starts from the input: (x, h) → h, or (x, h, c) → (h, c) for an LSTM."""
        new = self.step(self.project(x), *state)
        return new if self.states > 1 else new[0]

    def project(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch G"]:
        """aₜ = W_x xₜ + b. It does not depend on the state, so one product computes it for all steps."""
        return linear(x, self.W_x, self.b)


class RNNCell(_Cell):
    r"""hₜ = σ(W_h hₜ₋₁ + W_x xₜ + b_h).  F09.

    σ is tanh. With `activation=torch.relu` the state has no upper bound.
    `nn.RNNCell` has two biases that are only ever added, so here they are one: b = bias_ih + bias_hh.
    """

    gates = 1

    def __init__(self, input_size: int, hidden_size: int, activation=torch.tanh, generator: Random = None):
        super().__init__(input_size, hidden_size, generator)
        self.activation = activation

    def step(self, a: Float[Tensor, "B G"], h: Float[Tensor, "B H"]) -> State:
        return (self.activation(F.linear(h, self.W_h) + a),)


class LSTMCell(_Cell):
    r"""i, f, o = σ(W_x xₜ + W_h hₜ₋₁ + b) each, g = tanh(…);  cₜ = f ⊙ cₜ₋₁ + i ⊙ g;  hₜ = o ⊙ tanh cₜ.  F15.

    The gates are in the order i, f, g, o, like the rows of W_x, W_h and b of `nn.LSTM`, so its weights can be copied
    unchanged. Its two biases are only ever added, so here, as in the textbook, they are one: b = bias_ih + bias_hh.

    The forget gate's bias starts at 1 (Gers et al. 2000; Jozefowicz et al. 2015), so that f = σ(1) ≈ 0.73 instead of 0.5.
    Over ten steps, 0.5 leaves a thousandth of the gradient, but 0.73 leaves a twentieth, which is enough to learn from.
    """

    gates, states = 4, 2

    def __init__(self, input_size: int, hidden_size: int, generator: Random = None):
        super().__init__(input_size, hidden_size, generator)
        with torch.no_grad():
            self.b[hidden_size : 2 * hidden_size] = 1

    def step(self, a: Float[Tensor, "B G"], h: Float[Tensor, "B H"], c: Float[Tensor, "B H"]) -> State:
        i, f, g, o = (F.linear(h, self.W_h) + a).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class GRUCell(_Cell):
    r"""r, z = σ(a + W_h hₜ₋₁ + b_h) each;  n = tanh(a + r ⊙ (W_h hₜ₋₁ + b_h));  hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁.  F16.

    There are two published forms. Cho et al. reset the state *before* the product, W_h(r ⊙ hₜ₋₁). This one resets *after*
    it, which needs one product per step instead of two, and equals `nn.GRU`. The blocks are in the order r, z, n. The
    second bias b_h is inside r ⊙ (…), so it cannot be merged with b.
    """

    gates = 3

    def __init__(self, input_size: int, hidden_size: int, generator: Random = None):
        super().__init__(input_size, hidden_size, generator)
        self.b_h = nn.Parameter(torch.zeros(3 * hidden_size))

    def step(self, a: Float[Tensor, "B G"], h: Float[Tensor, "B H"]) -> State:
        a_r, a_z, a_n = a.chunk(3, dim=-1)
        u_r, u_z, u_n = F.linear(h, self.W_h, self.b_h).chunk(3, dim=-1)
        r, z = (a_r + u_r).sigmoid(), (a_z + u_z).sigmoid()
        n = (a_n + r * u_n).tanh()
        return ((1 - z) * n + z * h,)


CELLS: dict[str, Callable[..., _Cell]] = {
    "rnn": RNNCell,
    "rnn-relu": partial(RNNCell, activation=torch.relu),
    "lstm": LSTMCell,
    "gru": GRUCell,
}


def unroll(
    cell: _Cell, a: Float[Tensor, "T B G"], state: State, masks: list[Tensor | None], order: range
) -> tuple[Float[Tensor, "T B H"], State]:
    """The states h of `cell` after each step, and the last state, computed from a = W_x x + b of all steps.

    `masks[t]` [B, 1] is True for the rows that have a token at step t (None: all). The other rows keep their state, so
    that a backward walk starts at each row's own last token.
    """
    steps = a.unbind(0)  # one node of the autograd graph; a[t] would make T nodes, each with a gradient as large as a
    hs = [steps[0]] * len(steps)
    for t in order:
        new = cell.step(steps[t], *state)
        if (mask := masks[t]) is not None:
            new = tuple(torch.where(mask, after, before) for after, before in zip(new, state, strict=True))
        state, hs[t] = new, new[0]
    return torch.stack(hs), state


def unroll_by_hand(
    cell: LSTMCell, a: Float[Tensor, "T B G"], state: State, masks: list[Tensor | None], order: range
) -> tuple[Float[Tensor, "T B H"], State]:
    """`unroll` an LSTM with the gradient of `_LSTMByHand`: equal results, 15 % (large) to 60 % (small sizes) faster."""
    hs, h, c = _LSTMByHand.apply(a, cell.W_h, *state, masks, order)
    return hs, (h, c)


class _LSTMByHand(torch.autograd.Function):
    r"""All steps of F15 and their back-propagation through time.  With δx = ∂L/∂x, from the last step to the first:

        δcₜ   += δhₜ ⊙ o ⊙ (1 − tanh² cₜ)
        δa_i   = δcₜ ⊙ g ⊙ i(1 − i)       δa_f = δcₜ ⊙ cₜ₋₁ ⊙ f(1 − f)
        δa_g   = δcₜ ⊙ i ⊙ (1 − g²)       δa_o = δhₜ ⊙ tanh cₜ ⊙ o(1 − o)
        δhₜ₋₁ += W_hᵀ δaₜ                 δcₜ₋₁ = δcₜ ⊙ f

    and at the end ∂L/∂W_h = Σₜ δaₜ hₜ₋₁ᵀ is one product over all B·T rows, whereas autograd adds up T products.
    """

    @staticmethod
    def forward(ctx, a, W_h, h, c, masks, order):
        ctx.masks, ctx.order, ctx.onednn = masks, order, takes_onednn(h, W_h)
        hs, kept = [h] * len(a), []
        for t in order:
            i, f, g, o = (by_onednn(h, W_h, add=a[t]) if ctx.onednn else torch.addmm(a[t], h, W_h.T)).chunk(4, dim=-1)
            i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
            new_c = f * c + i * g
            tanh_c = new_c.tanh()
            new_h = o * tanh_c
            kept += [h, c, i, f, g, o, tanh_c]
            if masks[t] is not None:
                new_h, new_c = torch.where(masks[t], new_h, h), torch.where(masks[t], new_c, c)
            h, c, hs[t] = new_h, new_c, new_h
        ctx.save_for_backward(W_h, *kept)
        return torch.stack(hs), h, c

    @staticmethod
    def backward(ctx, dhs, dh, dc):
        if torch.is_grad_enabled():  # create_graph=True would silently be wrong: the saved tensors have no history
            raise RuntimeError("the LSTM's gradient by hand cannot be differentiated again: pass by_hand=False")
        through_sigmoid = torch.ops.aten.sigmoid_backward  # (δ, y) ↦ δ ⊙ y(1 − y), in one pass
        through_tanh = torch.ops.aten.tanh_backward  # (δ, y) ↦ δ ⊙ (1 − y²)
        W_h, *kept = ctx.saved_tensors
        T, B, H = dhs.shape
        da, h_before = dhs.new_empty(T, B, 4 * H), [dh] * T
        for t in reversed(ctx.order):
            h_before[t], c, i, f, g, o, tanh_c = kept[-7:]
            del kept[-7:]
            dh, mask = dh + dhs[t], ctx.masks[t]
            if mask is not None:  # a row without a token at t kept its state, so its gradient passes through
                by_h, by_c = dh.masked_fill(mask, 0), dc.masked_fill(mask, 0)
                dh, dc = dh - by_h, dc - by_c
            dc = dc + through_tanh(dh * o, tanh_c)
            da_i, da_f = through_sigmoid(dc * g, i), through_sigmoid(dc * c, f)
            da_g, da_o = through_tanh(dc * i, g), through_sigmoid(dh * tanh_c, o)
            torch.cat([da_i, da_f, da_g, da_o], dim=-1, out=da[t])
            dh, dc = by_onednn(da[t], W_h.T) if ctx.onednn else da[t] @ W_h, dc * f
            if mask is not None:
                dh, dc = dh + by_h, dc + by_c
        da_flat, before = da.view(T * B, 4 * H), torch.cat(h_before)
        dW_h = by_onednn(before.T, da_flat.T).T.contiguous() if ctx.onednn else da_flat.T @ before
        return da, dW_h, dh, dc, None, None


class Recurrent(nn.Module):
    r"""A stack of RNN, LSTM or GRU layers over whole sequences, in one direction or both.  F09, F15, F16.

    Layer l reads the outputs of layer l−1 after dropout. If `bidirectional`, each layer has a second cell that reads from
    the last token to the first, and the two outputs are concatenated. Cells and states are in PyTorch's order: layer 0
    forwards, layer 0 backwards, layer 1 forwards, …  Raises `InputError` for an unknown kind or impossible sizes.
    """

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        generator: Random = None,
    ):
        super().__init__()
        if kind not in CELLS:
            raise InputError(f"there is no recurrent layer {kind!r}: choose one of {', '.join(CELLS)}")
        if layers < 1:
            raise InputError(f"a recurrent stack needs at least 1 layer, not {layers}")
        self.directions = 2 if bidirectional else 1
        self.output_size = self.directions * hidden_size
        sizes = [input_size] + [self.output_size] * (layers - 1)
        self.cells: Any = nn.ModuleList(
            CELLS[kind](size, hidden_size, generator=generator) for size in sizes for _ in range(self.directions)
        )
        self.dropout = Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "B T I"],
        lengths: Int[Tensor, " B"] | None = None,
        state: tuple[Float[Tensor, "R B H"], ...] | None = None,
        by_hand: bool = True,
    ) -> tuple[Float[Tensor, "B T Y"], tuple[Float[Tensor, "R B H"], ...]]:
        """The outputs and the final state: `(h,)`, or `(h, c)` for an LSTM. The initial state is `state`, or zeros.

        Row b has `lengths[b]` tokens (None: T). Later steps do not change its state, and their outputs are zero.
        `by_hand=False` differentiates an LSTM with autograd: this is slower, but can be differentiated twice.
        Raises InputError for lengths outside 0 … T.
        """
        (B, T, _), first = x.shape, self.cells[0]
        if state is None:
            state = (x.new_zeros(len(self.cells), B, first.hidden_size),) * first.states
        masks: list[Tensor | None] = [None] * T
        if lengths is not None:
            shortest, longest = int(lengths.min()), int(lengths.max())
            if not 0 <= shortest <= longest <= T:
                raise InputError(f"lengths {lengths.tolist()} do not all lie between 0 and the number of steps, {T}")
            mask = torch.arange(T, device=x.device)[:, None, None] < lengths[:, None]  # [T, B, 1]
            masks[shortest:] = mask[shortest:].unbind()
        run = unroll_by_hand if by_hand and isinstance(first, LSTMCell) else unroll
        x = x.transpose(0, 1)  # [T, B, I], so that each step is one block of memory
        last: list[State] = []
        for layer in range(len(self.cells) // self.directions):
            x, outputs = self.dropout(x) if layer else x, []
            for order in (range(T), range(T)[::-1])[: self.directions]:
                cell, before = self.cells[len(last)], tuple(states[len(last)] for states in state)
                hs, final = run(cell, cell.project(x), before, masks, order)
                outputs.append(hs)
                last.append(final)
            x = torch.cat(outputs, dim=-1)  # [T, B, Y]
            if lengths is not None:
                x = x.masked_fill(~mask, 0)
        return x.transpose(0, 1), tuple(torch.stack(states) for states in zip(*last, strict=True))

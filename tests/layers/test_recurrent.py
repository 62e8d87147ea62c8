import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minilm.errors import InputError
from minilm.layers.dropout import use_generator
from minilm.layers.recurrent import CELLS, GRUCell, LSTMCell, Recurrent, RNNCell, _LSTMByHand

B, T, I, H = 5, 7, 3, 4
RAGGED = [4, 7, 1, 6, 2]
STACKS = {
    "rnn": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="tanh", **options),
    "rnn-relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}


def equal(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def normal(rng):
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def redraw(module, normal):
    """Make every weight and bias random, so that a forgotten one is noticed."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(normal(*parameter.shape) / 2)


def copy_from_pytorch(cell, referee, suffix=""):
    """Copy W_x, W_h and the biases of one direction of one layer; two biases are added where our cell has only one."""
    get = {name: getattr(referee, name + suffix).detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    with torch.no_grad():
        cell.W_x.copy_(get["weight_ih"])
        cell.W_h.copy_(get["weight_hh"])
        if isinstance(cell, GRUCell):
            cell.b.copy_(get["bias_ih"])
            cell.b_h.copy_(get["bias_hh"])
        else:
            cell.b.copy_(get["bias_ih"] + get["bias_hh"])


def assert_same_gradients(cell, referee, suffix=""):
    equal(cell.W_x.grad, getattr(referee, "weight_ih" + suffix).grad)
    equal(cell.W_h.grad, getattr(referee, "weight_hh" + suffix).grad)
    equal(cell.b.grad, getattr(referee, "bias_ih" + suffix).grad)
    if isinstance(cell, GRUCell):
        equal(cell.b_h.grad, getattr(referee, "bias_hh" + suffix).grad)


# ---- one step


def assert_cell_equals(cell, referee, normal):
    redraw(referee, normal)
    copy_from_pytorch(cell, referee)
    x, *state = ours = [normal(B, size).requires_grad_() for size in (I, H, H)[: cell.states + 1]]
    x_, *state_ = theirs = [tensor.detach().clone().requires_grad_() for tensor in ours]
    new, new_ = cell(x, *state), referee(x_, tuple(state_) if len(state_) > 1 else state_[0])
    new, new_ = (new, new_) if cell.states > 1 else ((new,), (new_,))
    upstream = [normal(B, H) for _ in new]
    torch.autograd.backward(new, upstream)
    torch.autograd.backward(new_, upstream)
    equal(list(new), list(new_))
    equal([tensor.grad for tensor in ours], [tensor.grad for tensor in theirs])
    assert_same_gradients(cell, referee)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_F09_rnn_cell_equals_pytorch(activation, normal):
    cell = RNNCell(I, H, activation=getattr(torch, activation)).double()
    assert_cell_equals(cell, nn.RNNCell(I, H, nonlinearity=activation).double(), normal)


def test_F15_lstm_cell_equals_pytorch(normal):
    assert_cell_equals(LSTMCell(I, H).double(), nn.LSTMCell(I, H).double(), normal)


def test_F16_gru_cell_equals_pytorch(normal):
    assert_cell_equals(GRUCell(I, H).double(), nn.GRUCell(I, H).double(), normal)


def test_F16_gru_resets_after_the_product(normal):
    """The other published form, W_h(r ⊙ h), gives other numbers: this test would notice the swap."""
    cell = GRUCell(I, H).double()
    redraw(cell, normal)
    x, h = normal(B, I), normal(B, H)
    a_r, a_z, a_n = cell.project(x).chunk(3, dim=-1)
    W_r, W_z, W_n = cell.W_h.chunk(3)
    b_r, b_z, b_n = cell.b_h.chunk(3)
    r, z = (a_r + h @ W_r.T + b_r).sigmoid(), (a_z + h @ W_z.T + b_z).sigmoid()
    after, before = (a_n + r * (h @ W_n.T + b_n)).tanh(), (a_n + (r * h) @ W_n.T + b_n).tanh()
    equal(cell(x, h), (1 - z) * after + z * h)
    assert (cell(x, h) - ((1 - z) * before + z * h)).abs().max() > 0.01


# ---- whole stacks


def referee_forward(referee, x, lengths, state):
    """Outputs and final states (as a list) of a PyTorch stack that gets its rows as a packed sequence."""
    state = None if not state else tuple(state) if isinstance(referee, nn.LSTM) else state[0]
    if lengths is None:
        outputs, final = referee(x, state)
    else:
        packed, final = referee(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False), state)
        outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.size(1))
    return outputs, list(final) if isinstance(referee, nn.LSTM) else [final]


@pytest.mark.parametrize("given_state", [False, True], ids=["zeros", "state"])
@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("kind", list(STACKS))
def test_F09_F15_F16_stack_equals_pytorch(kind, layers, bidirectional, ragged, given_state, normal):
    referee = STACKS[kind](I, H, layers, batch_first=True, bidirectional=bidirectional).double()
    redraw(referee, normal)
    stack = Recurrent(kind, I, H, layers, bidirectional=bidirectional).double()
    suffixes = [f"_l{layer}{way}" for layer in range(layers) for way in ["", "_reverse"][: stack.directions]]
    assert len(suffixes) == len(stack.cells)
    for cell, suffix in zip(stack.cells, suffixes):
        copy_from_pytorch(cell, referee, suffix)

    tensors = [normal(B, T, I), *[normal(len(suffixes), B, H) for _ in range(given_state * stack.cells[0].states)]]
    x, *state = ours = [tensor.requires_grad_() for tensor in tensors]
    x_, *state_ = theirs = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    lengths = torch.tensor(RAGGED) if ragged else None
    outputs, final = stack(x, lengths, tuple(state) or None)
    outputs_, final_ = referee_forward(referee, x_, lengths, state_)
    upstream = [normal(B, T, stack.output_size), *[normal(len(suffixes), B, H) for _ in final]]
    torch.autograd.backward([outputs, *final], upstream)
    torch.autograd.backward([outputs_, *final_], upstream)
    equal(outputs, outputs_)
    equal(list(final), final_)
    equal([tensor.grad for tensor in ours], [tensor.grad for tensor in theirs])
    for cell, suffix in zip(stack.cells, suffixes):
        assert_same_gradients(cell, referee, suffix)


@pytest.mark.parametrize("kind", list(CELLS))
def test_a_stack_is_its_cell_step_by_step(kind, normal):
    """The stack equals the simple loop that you would write with the cell's forward."""
    stack = Recurrent(kind, I, H).double()
    redraw(stack, normal)
    x, cell = normal(B, T, I), stack.cells[0]
    state = (torch.zeros(B, H, dtype=torch.float64),) * cell.states
    expected = []
    for t in range(T):
        new = cell(x[:, t], *state)
        state = new if cell.states > 1 else (new,)
        expected.append(state[0])
    equal(stack(x)[0], torch.stack(expected, dim=1))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(list(CELLS)),
    lengths=st.lists(st.integers(0, T), min_size=1, max_size=4),
    padding=st.integers(0, 3),
    layers=st.integers(1, 2),
    both_ways=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_padding_changes_nothing(kind, lengths, padding, layers, both_ways, seed):
    rng = torch.Generator().manual_seed(seed)
    stack = Recurrent(kind, I, H, layers, bidirectional=both_ways, generator=rng).double()
    x = torch.randn(len(lengths), T + padding, I, generator=rng, dtype=torch.float64)
    outputs, final = stack(x, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        assert outputs[b, length:].count_nonzero() == 0
        if length == 0:
            assert all(states[:, b].count_nonzero() == 0 for states in final)
        else:
            alone, final_alone = stack(x[b : b + 1, :length])
            equal(outputs[b, :length], alone[0], atol=1e-12)
            equal([states[:, b] for states in final], [states[:, 0] for states in final_alone], atol=1e-12)


def test_a_row_without_tokens_keeps_the_state_it_was_given(normal):
    stack = Recurrent("gru", I, H, layers=2, bidirectional=True).double()
    state = normal(4, 2, H)
    outputs, (final,) = stack(normal(2, T, I), torch.tensor([0, 3]), (state,))
    equal(final[:, 0], state[:, 0], atol=0)
    assert outputs[0].count_nonzero() == 0
    assert not torch.equal(final[:, 1], state[:, 1])


# ---- the gradient by hand


@pytest.mark.parametrize("ragged", [False, True], ids=["full", "ragged"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
def test_F15_by_hand_equals_autograd(bidirectional, ragged, normal):
    stack = Recurrent("lstm", I, H, layers=2, bidirectional=bidirectional).double()
    redraw(stack, normal)
    R, lengths = len(stack.cells), torch.tensor([0, *RAGGED[1:]]) if ragged else None
    inputs = [normal(B, T, I).requires_grad_(), normal(R, B, H).requires_grad_(), normal(R, B, H).requires_grad_()]
    upstream = [normal(B, T, stack.output_size), normal(R, B, H), normal(R, B, H)]
    results = {}
    for by_hand in (True, False):
        outputs, final = stack(inputs[0], lengths, tuple(inputs[1:]), by_hand=by_hand)
        gradients = torch.autograd.grad([outputs, *final], [*inputs, *stack.parameters()], upstream)
        results[by_hand] = [outputs, *final, *gradients]
    equal(results[True], results[False], atol=1e-12)


@pytest.mark.parametrize("order", [range(3), range(3)[::-1]], ids=["forwards", "backwards"])
def test_F15_by_hand_agrees_with_finite_differences(order, normal):
    a, W_h, h, c = (normal(*shape).requires_grad_() for shape in [(3, 2, 16), (16, 4), (2, 4), (2, 4)])
    masks = [None, None, torch.tensor([[True], [False]])]
    assert torch.autograd.gradcheck(lambda *leaves: _LSTMByHand.apply(*leaves, masks, order), (a, W_h, h, c))


def test_F15_a_second_derivative_is_refused_by_hand_and_given_by_autograd(normal):
    stack, x = Recurrent("lstm", I, H).double(), normal(B, T, I).requires_grad_()
    upstream = normal(B, T, H)

    def twice(by_hand):
        (first,) = torch.autograd.grad(stack(x, by_hand=by_hand)[0], x, upstream, create_graph=True)
        return torch.autograd.grad(first, x, first.detach())

    assert twice(by_hand=False)[0].abs().max() > 0
    with pytest.raises(RuntimeError, match="by_hand=False"):
        twice(by_hand=True)


# ---- initial weights, dropout, bad input


@pytest.mark.parametrize("kind", list(CELLS))
def test_first_weights_come_from_the_generator(kind):
    def weights(seed):
        stack = Recurrent(kind, I, 16, 2, bidirectional=True, generator=torch.Generator().manual_seed(seed))
        return torch.cat([p.detach().flatten() for p in stack.parameters() if p.ndim == 2])

    before = torch.get_rng_state()
    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))
    assert torch.equal(before, torch.get_rng_state())
    assert 0.24 < weights(1).abs().max() <= 0.25  # ±1/√16
    assert weights(1).std() == pytest.approx(0.25 / 3**0.5, rel=0.05)


def test_F15_forget_gate_starts_open():
    i, f, g, o = LSTMCell(I, H).b.chunk(4)
    assert f.tolist() == [1] * H
    assert torch.cat([i, g, o]).count_nonzero() == 0


def test_dropout_stands_between_the_layers_and_draws_from_its_generator(normal):
    x = normal(B, T, I)
    stack = Recurrent("lstm", I, H, layers=2, dropout=0.5).double()

    def run(seed):
        use_generator(stack, torch.Generator().manual_seed(seed))
        return stack(x)

    (outputs, (h, _)), (again, _), (other, (h_other, _)) = run(1), run(1), run(2)
    assert torch.equal(outputs, again) and not torch.equal(outputs, other)
    assert torch.equal(h[0], h_other[0])  # no dropout before the first layer
    assert outputs.count_nonzero() == outputs.numel()  # and none after the last
    assert torch.equal(stack.eval()(x)[0], run(3)[0])
    one = Recurrent("lstm", I, H, layers=1, dropout=0.5).double()
    assert torch.equal(one(x)[0], one(x)[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("transformer", I, H), "no recurrent layer 'transformer': choose one of rnn, rnn-relu, lstm, gru"),
        (("gru", I, H, 0), "at least 1 layer, not 0"),
        (("lstm", 0, H), "input size 0 and hidden size 4"),
        (("rnn", I, -1), "hidden size -1"),
    ],
)
def test_impossible_sizes_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Recurrent(*arguments)


@pytest.mark.parametrize("lengths", [[3, 8], [-1, 3]])
def test_impossible_lengths_are_named(lengths):
    with pytest.raises(InputError, match="between 0 and the number of steps, 7"):
        Recurrent("rnn", I, H)(torch.zeros(2, T, I), torch.tensor(lengths))

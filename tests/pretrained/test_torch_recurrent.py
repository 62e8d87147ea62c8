"""PyTorch's recurrent layers are converted both ways: same values, same gradients, and the same bits when converted back."""

import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.layers.recurrent import Recurrent
from minilm.pretrained.torch_recurrent import from_torch, to_torch

KINDS = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
I, H, LAYERS = 3, 5, 2


def pair(kind, bidirectional, seed=0, **options):
    torch.manual_seed(seed)  # PyTorch's layers draw from the global generator only
    theirs = KINDS[kind](I, H, LAYERS, batch_first=True, bidirectional=bidirectional, **options).double()
    return Recurrent(kind, I, H, LAYERS, bidirectional).double(), theirs


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_F15_F16_theirs_here_values_and_gradients(kind, bidirectional):
    ours, theirs = pair(kind, bidirectional)
    from_torch(theirs.state_dict(), ours)
    x = torch.randn(4, 7, I, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 7, ours.output_size, dtype=torch.float64)
    out, state = ours(x)
    expected, their_state = theirs(x)
    their_state = their_state if kind == "lstm" else (their_state,)
    for mine, other in zip((out, *state), (expected, *their_state), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0)
    for mine, other in zip(*(torch.autograd.grad(y, x, upstream) for y in (out, expected)), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-10, rtol=0)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_F15_F16_ours_there_and_back_to_the_same_bits(kind, bidirectional):
    ours, theirs = pair(kind, bidirectional)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    weights = to_torch(ours)
    assert weights.keys() == theirs.state_dict().keys()
    theirs.load_state_dict(weights)
    second = [tensor for name, tensor in weights.items() if name.startswith("bias_hh")]
    assert all(tensor.any() for tensor in second) if kind == "gru" else not any(tensor.any() for tensor in second)
    x = torch.randn(4, 7, I, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], atol=1e-10, rtol=0)
    again, _ = pair(kind, bidirectional, seed=1)
    from_torch(theirs.state_dict(), again)
    for mine, other in zip(again.parameters(), ours.parameters(), strict=True):
        assert torch.equal(mine, other)
    weights["bias_ih_l0"].zero_()  # these are copies; the model's weights do not change
    assert ours.cells[0].b.any()


def test_a_layer_without_biases_has_biases_of_0():
    ours, theirs = pair("lstm", False, bias=False)
    from_torch(theirs.state_dict(), ours)
    assert not any(cell.b.any() for cell in ours.cells)
    x = torch.randn(2, 4, I, dtype=torch.float64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], atol=1e-10, rtol=0)


def test_all_that_does_not_fit_stands_in_one_message_and_changes_nothing():
    ours, theirs = pair("lstm", False)
    before = [parameter.clone() for parameter in ours.parameters()]
    projected = nn.LSTM(I, H, LAYERS, proj_size=2).state_dict()
    wrong = theirs.state_dict() | {"weight_hr_l0": projected["weight_hr_l0"], "bias_ih_l1": torch.zeros(7)}
    del wrong["weight_hh_l0"]
    with pytest.raises(InputError) as caught:
        from_torch(wrong, ours)
    for part in ("missing weight_hh_l0", "unknown weight_hr_l0", "bias_ih_l1 is [7] and should be [20]"):
        assert part in str(caught.value)
    with pytest.raises(InputError, match=r"weight_ih_l0 is \[15, 3\] and should be \[20, 3\]"):
        from_torch(pair("gru", False)[1].state_dict(), ours)
    assert all(torch.equal(a, b) for a, b in zip(before, ours.parameters(), strict=True))

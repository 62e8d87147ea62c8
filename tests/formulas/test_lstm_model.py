import numpy as np
import pytest
import torch
from referees import finite_differences

from minilm.errors import InputError
from minilm.formulas.lstm_model import lstm_model, lstm_model_loss, lstm_model_loss_gradients, lstm_model_shapes
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.training.losses import cross_entropy

B, T, V, E, H = 4, 6, 7, 2, 3
NAMES = {"embedding": "encoder.embedding.weight", "W_y": "head.weight", "b_y": "head.bias"}
NAMES |= {f"{w}{n}": f"encoder.lstm.cells.{n - 1}.{w.rstrip('_')}" for w in ("W_x", "W_h", "b_") for n in (1, 2)}


@pytest.fixture
def rng():
    return np.random.default_rng(9)


@pytest.fixture
def theta(rng):
    return {name: rng.normal(size=shape) for name, shape in lstm_model_shapes(V, E, H).items()}


@pytest.fixture
def texts(rng):
    """Token ids [B, T] with some repeats, and labels, some of which do not count. 0 is the library's padding."""
    w, y = rng.integers(1, V, size=(B, T)), rng.integers(V, size=(B, T))
    w[:, 3] = w[:, 0]
    y[:, 1] = y[:, 4] = -100
    return w, y


def library(theta):
    model = LSTMLanguageModel(LSTMConfig(V, E, H)).double()
    model.load_state_dict({NAMES[name]: torch.tensor(array) for name, array in theta.items()}, strict=True)
    return model


def test_F17_logits_loss_and_gradients_equal_the_library(theta, texts):
    w, y = texts
    model = library(theta)
    logits = model(torch.tensor(w))
    loss = cross_entropy(logits, torch.tensor(y)).value
    loss.backward()
    theirs = {name: parameter.grad.numpy() for name, parameter in model.named_parameters()}
    ours = [lstm_model_loss_gradients(theta, *text) for text in zip(w, y)]
    np.testing.assert_allclose([lstm_model(theta, row) for row in w], logits.detach(), atol=1e-10)
    losses = [
        lstm_model_loss(theta, *text) for text in zip(w, y)
    ]  # equally many labels in each, so the mean of the means is right
    assert np.mean(losses) == pytest.approx(loss.item(), abs=1e-10)
    assert ours[0].keys() == theta.keys() and len(theirs) == len(theta)
    for name in theta:
        mean = sum(gradients[name] for gradients in ours) / B
        np.testing.assert_allclose(mean, theirs[NAMES[name]], atol=1e-10, err_msg=name)


def test_F17_gradients_equal_finite_differences(theta, texts):
    w, y = (rows[0] for rows in texts)
    for name, ours in lstm_model_loss_gradients(theta, w, y).items():
        numbers = finite_differences(lambda a, name=name: lstm_model_loss(theta | {name: a}, w, y), theta[name])
        np.testing.assert_allclose(ours, numbers, atol=1e-7, err_msg=name)


def test_F17_the_printed_sizes_make_423400_parameters():
    counts = {name: int(np.prod(shape)) for name, shape in lstm_model_shapes().items()}
    rows = {"embedding": 0, "1": 0, "2": 0, "y": 0}
    for name, count in counts.items():
        rows[name if name in rows else name[-1]] += count
    assert list(rows.values()) == [64_000, 98_816, 131_584, 129_000]  # Embedding, LSTM, LSTM, Dense
    model = LSTMLanguageModel()  # its defaults are the document's sizes
    assert sum(rows.values()) == sum(p.numel() for p in model.parameters()) == 423_400


def test_F17_the_documents_program_learns_from_the_last_token_only(theta, texts):
    w, y = (rows[0] for rows in texts)
    last = np.full(T, -100)
    last[-1] = y[-1]
    z = lstm_model(theta, w)[-1]
    assert lstm_model_loss(theta, w, last) == pytest.approx(np.log(np.exp(z).sum()) - z[y[-1]])
    assert abs(lstm_model_loss(theta, w, last) - lstm_model_loss(theta, w, y)) > 0.01


BAD = {
    "an array is missing": lambda theta, w, y: ({k: a for k, a in theta.items() if k != "b_2"}, w, y),
    "one too many": lambda theta, w, y: (theta | {"W_z": theta["W_y"]}, w, y),
    "embedding": lambda theta, w, y: (theta | {"embedding": np.zeros((V, E, 1))}, w, y),
    "W_x2": lambda theta, w, y: (theta | {"W_x2": np.zeros((4 * H, E))}, w, y),
    "W_y": lambda theta, w, y: (theta | {"W_y": np.zeros((H, V))}, w, y),
    "no words": lambda theta, w, y: (theta, w[:0], y[:0]),
    "a word outside": lambda theta, w, y: (theta, w + V, y),
    "a label outside": lambda theta, w, y: (theta, w, np.full(T, V)),
    "a negative label": lambda theta, w, y: (theta, w, np.full(T, -1)),
    "no label counts": lambda theta, w, y: (theta, w, np.full(T, -100)),
    "y": lambda theta, w, y: (theta, w, y[:-1]),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function", [lstm_model_loss, lstm_model_loss_gradients])
def test_F17_says_what_does_not_fit(theta, texts, bad, function):
    good = theta, *(rows[0] for rows in texts)
    function(*good)
    with pytest.raises(InputError, match=r"give|must be|must have|its arrays are"):
        function(*BAD[bad](*good))


def test_F17_sizes_are_at_least_one():
    with pytest.raises(InputError, match="at least 1"):
        lstm_model_shapes(V=0)

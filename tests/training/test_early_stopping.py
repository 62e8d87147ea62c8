import math

import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.training.early_stopping import EarlyStopping


class Tied(nn.Module):
    """A model with a buffer, and with an embedding table that is also the output matrix."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("seen", torch.zeros(()))


def run(stopping, metrics):
    """Return a model whose weights equal the number of the evaluation, and how many evaluations ran before the stop."""
    model = Tied()
    for n, metric in enumerate(metrics, start=1):
        with torch.no_grad():
            model.embedding.weight.fill_(n)
            model.seen.fill_(n)
        stopping.update(metric, model)
        if stopping.should_stop:
            break
    return model, n


@pytest.mark.parametrize(("patience", "evaluations"), [(1, 3), (2, 4), (3, 5)])
def test_patience_is_the_number_of_evaluations_without_a_new_best(patience, evaluations):
    _, n = run(EarlyStopping(patience), [0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    assert n == evaluations  # the second evaluation is the best


def test_a_new_best_starts_the_waiting_anew():
    _, n = run(EarlyStopping(patience=2), [0.5, 0.4, 0.6, 0.5, 0.7, 0.6, 0.6, 0.9])
    assert n == 7


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
def test_the_best_comes_back_and_not_the_last(mode, sign):
    stopping = EarlyStopping(patience=2, mode=mode)
    model, _ = run(stopping, [sign * 0.5, sign * 0.9, sign * 0.8, sign * 0.85])
    assert stopping.best == sign * 0.9
    assert model.embedding.weight.unique().tolist() == [4]
    stopping.restore(model)
    assert model.embedding.weight.unique().tolist() == [2]
    assert model.seen == 2


def test_the_weights_go_back_into_the_same_tensors():
    stopping = EarlyStopping(patience=1)
    model, _ = run(stopping, [0.9, 0.1])
    table = model.embedding.weight
    stopping.restore(model)
    assert model.embedding.weight is table is model.output.weight
    assert table.unique().tolist() == [1]


def test_the_copy_does_not_change_as_training_goes_on_after_a_restore():
    stopping = EarlyStopping(patience=1)
    model, _ = run(stopping, [0.9, 0.1])
    for _ in range(2):
        stopping.restore(model)
        assert model.embedding.weight.unique().tolist() == [1]
        with torch.no_grad():
            model.embedding.weight.fill_(8)


def test_equal_is_not_better():
    stopping = EarlyStopping(patience=5)
    model, _ = run(stopping, [0.9, 0.9, 0.9])
    assert stopping.waited == 2
    stopping.restore(model)
    assert model.embedding.weight.unique().tolist() == [1]


@pytest.mark.parametrize(("mode", "worst"), [("max", -math.inf), ("min", math.inf)])
def test_nan_is_never_the_best_nor_is_the_worst_there_can_be(mode, worst):
    stopping = EarlyStopping(patience=2, mode=mode)
    model, n = run(stopping, [math.nan, worst, 0.5])
    assert n == 2
    with pytest.raises(InputError, match="every metric so far was NaN"):
        stopping.restore(model)
    stopping = EarlyStopping(patience=2, mode=mode)
    model, n = run(stopping, [math.nan, 0.5, math.nan, math.nan, 0.9])
    assert (n, stopping.best) == (4, 0.5)
    stopping.restore(model)
    assert model.embedding.weight.unique().tolist() == [2]


def test_update_says_whether_it_was_the_best():
    stopping = EarlyStopping(patience=9, mode="min")
    assert [stopping.update(metric, Tied()) for metric in (2.0, 1.0, math.nan, 1.5, 0.5)] == [1, 1, 0, 0, 1]


def test_a_patience_of_none_and_an_unknown_mode_are_refused():
    with pytest.raises(InputError, match="patience must be at least 1, not 0"):
        EarlyStopping(patience=0)
    with pytest.raises(InputError, match="mode must be .*, not 'best'"):
        EarlyStopping(patience=1, mode="best")

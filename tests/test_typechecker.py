"""The sample of calls whose shapes are checked while the tests run."""

from functools import partial

import pytest
import torch
import typechecker
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from minilm.examples.batching import Batch
from minilm.layers.attention import split_heads
from minilm.layers.dropout import Dropout

jaxtyped = partial(typechecker.jaxtyped, typechecker=typechecker.check)
right, wrong = torch.zeros(3), torch.zeros(2, 3)


def twice(x: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    return 2 * x


def refused(function, count: int) -> list[int]:
    """Which of so many calls with a matrix in place of a vector are refused, counted from 1."""
    found = []
    for call in range(1, count + 1):
        try:
            function(wrong)
        except TypeCheckError:
            found.append(call)
    return found


def test_the_first_calls_of_a_test_and_then_every_tenth_are_checked(monkeypatch):
    monkeypatch.setattr(typechecker, "EVERY_CALL", False)
    checked = jaxtyped(twice)
    assert refused(checked, 45) == [*range(1, 21), 30, 40] and torch.equal(checked(right), right)
    typechecker.calls.clear()  # the next test begins
    assert refused(checked, 2) == [1, 2]
    monkeypatch.setattr(typechecker, "EVERY_CALL", True)
    assert refused(checked, 45) == [*range(1, 46)]


def test_a_function_inside_a_function_is_counted_over_all_times_that_it_is_made(monkeypatch):
    monkeypatch.setattr(typechecker, "EVERY_CALL", False)

    def make():
        def inner(x: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
            return x

        return jaxtyped(inner)

    assert refused(lambda x: make()(x), 12) == [1, 2, 3, 10]


def test_minilm_is_checked():
    """Functions, methods, and what a dataclass is made of."""
    with pytest.raises(TypeCheckError):
        split_heads(wrong, 1)
    with pytest.raises(TypeCheckError):
        Dropout(0.5)([1.0])
    with pytest.raises(TypeCheckError):
        Batch(input_ids=right)


def test_what_says_nothing_of_types_is_left_alone():
    def plain(x):
        return x

    assert jaxtyped(plain) is plain

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_probabilities, check_shape


def test_a_shape_that_fits_passes_and_one_that_does_not_is_named():
    check_shape("W_h", np.zeros((3, 3)), "H H", H=3)
    check_shape("x", np.zeros((2, 5)), "T I")
    with pytest.raises(
        InputError, match=r"W_h has shape \[3, 4\], but must be \[H, H\] with H = 3: axis H does not fit"
    ):
        check_shape("W_h", np.zeros((3, 4)), "H H", H=3)
    with pytest.raises(InputError, match="axis H does not fit"):  # one letter with two sizes
        check_shape("W_h", np.zeros((3, 4)), "H H")
    with pytest.raises(InputError, match=r"x has shape \[5\], but must have 2 axes, \[T, I\]"):
        check_shape("x", np.zeros(5), "T I")


def test_an_empty_batch_is_named():
    check_not_empty("y", np.zeros(1))
    with pytest.raises(InputError, match="y is empty"):
        check_not_empty("y", np.zeros((0, 3)))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, float("nan")])
def test_a_number_that_is_not_a_probability_is_named(wrong):
    check_probabilities("p", np.array([0.0, 0.5, 1.0]))
    with pytest.raises(InputError, match=f"p holds {wrong:g}, which is not a probability"):
        check_probabilities("p", np.array([0.5, wrong]))


def test_a_class_outside_is_named():
    check_classes("y", np.array([0, 2]), 3)
    for wrong in (-1, 3):
        with pytest.raises(InputError, match=f"y holds the class {wrong}, but there are only 3 classes"):
            check_classes("y", np.array([0, wrong]), 3)
    with pytest.raises(InputError, match="y has the type float64"):
        check_classes("y", np.array([0.0, 1.0]), 3)

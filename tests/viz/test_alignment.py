"""The picture of an alignment: cells, names, and what does not fit."""

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.viz.alignment import alignment_map


def test_rows_are_what_is_written_and_columns_what_is_read(tmp_path):
    A = np.array([[0.9, 0.1, 0.0], [0.2, 0.3, 0.5]])
    picture = alignment_map(["three", "May", "[SEP]"], ["5", "3"], A, tmp_path / "a.png", "a title")
    axis = picture.axes[0]
    assert np.array_equal(axis.images[0].get_array(), A)
    assert [label.get_text() for label in axis.get_xticklabels()] == ["three", "May", "[SEP]"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["5", "3"]
    assert axis.get_title("left") == "a title"
    alignment_map(["three", "May", "[SEP]"], ["5", "3"], A, tmp_path / "b.png", "a title")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_tokens_that_no_font_has_are_numbered():
    picture = alignment_map(["a", "b"], ["\U000e0001x", "y"], np.eye(2))
    assert "no installed font" in picture.axes[0].get_xlabel()
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == ["#1", "y"]


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"weights of shape \[2, 2\] do not fit 1 tokens that are written and 2"):
        alignment_map(["a", "b"], ["c"], np.eye(2))

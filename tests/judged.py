"""How the predictions of a lab experiment are tested. Not a test file."""

from collections.abc import Callable, Sequence

from minilm.experiments.emergence.experiment import Prediction


def true_where_they_should(
    predictions: Sequence[Prediction], records: Callable[..., list[dict]], failures: Sequence[tuple[str, dict]]
) -> None:
    """All predictions come true for `records()`, and each fails by a single seed: that of `records(arm, **changes)` with the
    failure of its number. So none of them is true of everything, and there is a failure for each."""
    assert len(failures) == len(predictions)
    assert [prediction.judge(records()).held for prediction in predictions] == [True] * len(predictions)
    for number, (arm, changes) in enumerate(failures):
        found = predictions[number].judge(records(arm, **changes))
        assert not found.held and found.figures, f"prediction {number + 1} comes true in spite of {changes} in {arm}"

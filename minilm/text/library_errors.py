"""Turns errors of the `tokenizers` library, which is written in Rust, into ordinary exceptions of Python or into minilm's own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from minilm.text.files import refuse_half_characters


@contextmanager
def whole_characters(texts: Iterable[str]) -> Iterator[None]:
    """Turn the library's TypeError for text that cannot be encoded as UTF-8 into an InputError that shows the text."""
    try:
        yield
    except TypeError:
        for text in texts:
            refuse_half_characters(text, f"the text {text[:40]!r}")
        raise


@contextmanager
def panics_as_errors() -> Iterator[None]:
    """Turn a panic, which is no `Exception` in Python, into a RuntimeError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(str(error)) from None

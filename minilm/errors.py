"""The one kind of error that the user can correct, and the checks that many options need."""

import unicodedata

LONGEST = 4_000  # characters of a message: enough to list the weights of a model


class InputError(ValueError):
    """Something that came in from outside is wrong. The message is one sentence: what, where, what to do.

    The command line prints it after `minilm: ` and ends with exit code 2; in Python it is a `ValueError`. A message may quote a
    stranger's file, so what would end its line, steer the terminal or turn the text around is written as \\n, \\x1b or \\u202e, and
    what is longer than `LONGEST` loses its middle.
    """

    def __init__(self, sentence: str = ""):
        super().__init__(on_one_line(str(sentence)))


def on_one_line(text: str) -> str:
    """The text with an escape in place of every character that cannot be shown; spaces of any width stay."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1_000]} … {text[-900:]}"
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text)
    return "".join(shown)


def check_least(options: object, least: float, *names: str) -> None:
    """Raise InputError unless each of these fields of `options` is at least `least`. NaN is not."""
    for name in names:
        if not (value := getattr(options, name)) >= least:
            raise InputError(f"{name} must be at least {least}, not {value}.")


def check_most(options: object, most: dict[str, int]) -> None:
    """Raise InputError unless each of these fields of `options` is at most the number under its name."""
    for name, limit in most.items():
        if (value := getattr(options, name)) > limit:
            raise InputError(f"{name} must be at most {limit:,}, not {value:,}.")

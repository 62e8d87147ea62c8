"""The one kind of error that the user can correct, and the checks that many options need."""


class InputError(ValueError):
    """Something that came in from outside is wrong. The message is one sentence: what, where, what to do.

    The command line prints it after `minilm: ` and ends with exit code 2; in Python it is a `ValueError`.
    """


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

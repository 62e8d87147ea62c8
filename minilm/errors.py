"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """Something that came in from outside is wrong. The message is one sentence: what, where, what to do.

    The command line prints it after `minilm: ` and ends with exit code 2; in Python it is a `ValueError`.
    """

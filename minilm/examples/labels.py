"""The label that does not count."""

IGNORED = (
    -100
)  # the convention of PyTorch: a loss skips these positions. It is never 0, which is a class like any other

"""The label that does not count."""

# PyTorch's convention: a loss skips the positions with this label. It is not 0, because 0 is a class like any other.
IGNORED = -100

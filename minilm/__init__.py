"""A small Transformer language model, written by hand from its formulas, that trains on a laptop."""

__version__ = "0.1.0"

"""Shapes in signatures are checked while the tests run, and only then: at run time they cost nothing."""

from jaxtyping import install_import_hook

install_import_hook("minilm", "beartype.beartype")

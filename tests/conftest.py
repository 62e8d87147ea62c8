"""Shapes in signatures are checked while the tests run, and only then: at run time they cost nothing.

Hypothesis tries the same examples in every run: a test that is red today was not green yesterday by luck. It gives a
slow machine time, and prints how a failure is had again.
"""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("minilm", "typechecker.check")

settings.register_profile("minilm", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("minilm")

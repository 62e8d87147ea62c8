"""The shapes in signatures are checked only while the tests run, so users pay nothing for them.

Hypothesis tries the same examples in every run, so no test passes or fails by luck. It has no time limit, because a
machine may be slow, and it prints how to reproduce a failure.
"""

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("minilm", "typechecker.check")

settings.register_profile("minilm", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("minilm")

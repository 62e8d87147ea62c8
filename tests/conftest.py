"""The shapes in signatures are checked only while the tests run, so users pay nothing for them.

Hypothesis tries the same examples in every run, so no test passes or fails by luck. It has no time limit, because a
machine may be slow, and it prints how to reproduce a failure.
"""

import typechecker
from hypothesis import settings

typechecker.install()

settings.register_profile("minilm", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("minilm")


def pytest_runtest_setup(item):
    typechecker.calls.clear()

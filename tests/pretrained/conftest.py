"""What the tests of folders as others publish them share."""

import logging

import pytest
import transformers
from published_folders import tokenizers_in


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory):
    return tokenizers_in(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def quiet():
    """No warnings and no progress bars of `transformers` for random models."""
    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    yield
    transformers.utils.logging.enable_progress_bar()
    logging.disable(logging.NOTSET)

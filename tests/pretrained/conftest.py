"""What the tests of folders as others publish them share."""

import logging

import pytest
import transformers
from published_folders import tokenizers_in

from minilm.pretrained import adapter, run_folder


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


@pytest.fixture(scope="module", autouse=True)
def folders_of_other_programs():
    """The tests of this room edit folders that minilm wrote, as if another program had written them so: without checksums."""
    with pytest.MonkeyPatch.context() as patch:
        for writer in (run_folder, adapter):
            patch.setattr(writer, "seal", lambda folder, names: None)
        yield

"""Sentence vectors against `sentence-transformers`, over folders with random poolings, layers, lengths and prompts."""

import logging
import random

import numpy as np
import pytest
import torch
from published_folders import sentence_folder, texts, tokenizers_in

from minilm.pretrained.protocol import open_encoder, save_model
from minilm.training.inference import sentence_vectors

SEED, FOLDERS = 11, 220


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    return tokenizers_in(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def referee(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@pytest.mark.parametrize("part", range(4))
def test_vectors_of_random_folders(part, tokenizers, tmp_path):
    differences = []
    for i in range(part * FOLDERS // 4, (part + 1) * FOLDERS // 4):
        rng = random.Random(SEED * 1000 + i)
        folder = tmp_path / str(i)
        sentence_folder(folder, rng.choice(tokenizers), rng)
        given = texts(rng)
        expected = referee(folder).encode(given, show_progress_bar=False)
        loaded = open_encoder(folder)
        found = sentence_vectors(loaded.model, loaded.tokenizer, given, truncate=True)
        if found.shape != expected.shape or not np.allclose(found, expected, atol=1e-6, rtol=1e-5):
            differences.append(i)
    assert differences == []

import pytest
import torch
from tiny import DATA

from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.protocol import save_model
from minilm.text.tokenizer import train_wordpiece


@pytest.fixture(scope="session")
def published_encoder(tmp_path_factory):
    """The folder of a small encoder that has learned nothing."""
    out = tmp_path_factory.mktemp("applications") / "encoder"
    tokenizer = train_wordpiece([DATA / "english.txt"], 200)
    model = SentenceEncoder(Bert(TransformerConfig(tokenizer.size, 12, 2, 3, 8, max_length=60, dropout=0.1)))
    initialise(model, generator=torch.Generator().manual_seed(0))
    save_model(out, model, tokenizer)
    return out

"""Tiny language models in float64, with weights so large that all of them matter. Not a test file."""

import torch

from minilm.models.gpt import GPT, GPTConfig
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig

V, W = 17, 11


def redrawn(model, seed: int = 0):
    """The model in evaluation mode, with every number that is learned drawn anew."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 2)
    return model.eval()


def gpt(positions: str = "relative", seed: int = 0, **changes) -> GPT:
    sizes = dict(vocab_size=V, width=12, layers=2, heads=3, feed_forward=20, max_length=W, positions=positions)
    return redrawn(GPT(GPTConfig(**sizes | changes)), seed)


def lstm(seed: int = 0, vocab_size: int = V) -> LSTMLanguageModel:
    return redrawn(LSTMLanguageModel(LSTMConfig(vocab_size, embedding=5, hidden=6, layers=2)), seed)


def seq2seq(positions: str = "relative", seed: int = 0, **changes) -> Seq2Seq:
    sizes = dict(vocab_size=V, width=12, layers=2, heads=3, feed_forward=20, max_length=W, dropout=0.0)
    return redrawn(Seq2Seq(Seq2SeqConfig(**sizes | dict(positions=positions) | changes)), seed)

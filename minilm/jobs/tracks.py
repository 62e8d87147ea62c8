"""What differs between the two quickstarts: the text, the task, the rungs of the ladder, the words under the table."""

from typing import Protocol

import numpy as np
import torch
from torch import nn

from minilm.jobs.ladder import Rung, Study
from minilm.jobs.prepare import Prepared
from minilm.jobs.pretrain import PretrainOptions
from minilm.text.tokenizer import Tokenizer


class Track(Protocol):
    """One language's story. All that the quickstart needs to tell it."""

    text: str
    task: str
    title: str
    metric: str
    labels: tuple[int, ...]
    steps: int
    pretraining: PretrainOptions
    probes: tuple[str, ...]
    masked: tuple[str, ...]
    look_at: str
    example: str

    def study(
        self,
        prepared: Prepared,
        settings: PretrainOptions,
        vectors: np.ndarray,
        device: torch.device,
        progress: bool,
        say,
    ) -> Study: ...

    def rungs(self, study: Study) -> list[Rung]: ...

    def predictions(self, model: nn.Module, tokenizer: Tokenizer) -> list[str]: ...

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str: ...


def neural_rungs(study: Study) -> list[Rung]:
    """The rungs that both ladders have."""
    n = study.neural
    return [
        Rung("LSTM", "two layers of 128 (F17), from scratch", n("lstm", "scratch", "lstm")),
        Rung("LSTM + word vectors", "its embeddings start from F34", n("lstm", "vectors", "lstm")),
        Rung("MiniLM", "the Transformer from scratch", n("minilm", "scratch", "scratch")),
        Rung("MiniLM + word vectors", "its embeddings start from F34", n("minilm", "vectors", "vectors")),
        Rung("MiniLM pretrained, head only", "F08 as printed: W⁰ and b⁰ alone", n("minilm", "pretrained", "head")),
        Rung("MiniLM pretrained, fine-tuned", "F02: all of θ moves", n("minilm", "pretrained", "pretrained")),
    ]


def track_for(language: str) -> Track:
    from minilm.jobs.quickstart_english import English
    from minilm.jobs.quickstart_chinese import Chinese

    return English() if language == "en" else Chinese()

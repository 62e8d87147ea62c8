"""The model that a pretraining run begins with."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from minilm.jobs.pretraining_data import vectors_for
from minilm.models.initialisation import initialise, warm_start
from minilm.text.prepare import Prepared

if TYPE_CHECKING:
    from minilm.jobs.pretrain import PretrainOptions


def build(options: "PretrainOptions", prepared: Prepared, further: int = 0) -> nn.Module:
    """The model as it is before the first step, with room for `further` tokens that the text itself does not have."""
    config = options.model_config(prepared.tokenizer.size + further)
    with torch.random.fork_rng(devices=[]):  # for the weights that `initialise` leaves as PyTorch draws them
        torch.manual_seed(options.seed)
        model: Any = options.adapter.build_pretraining(config)
    initialise(model, options.init, torch.Generator().manual_seed(options.seed))
    if options.word_vectors:
        vectors = np.pad(vectors_for(prepared, options), ((0, further), (0, 0)))
        warm_start(model.encoder.token_table, vectors)
    return model

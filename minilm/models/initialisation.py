r"""How a model starts: three ways to draw the weights, and word vectors in the embedding table.  F18, F21, F34.

Letters:  C model width · V vocabulary · n size of the word vectors

"published"   N(0, 0.02²), BERT's choice. It is right for a width of 768. At 128 it makes Q Kᵀ about twenty times too small,
              so that attention starts out uniform, and a laptop's ten minutes end before it leaves that plateau.
"fan-in"      N(0, 1/fan-in), so that every product keeps the size of what enters it.
"neighbours"  "fan-in", and then whatever the architecture adds to it. In BERT, heads start out attending
              to the tokens next door, and some to tokens like their own (`models/bert_start.py`): a masked word is
              guessed from its neighbours, and heads that must first find them learn nothing else meanwhile.

An architecture takes part by a method `start(scheme)` on one of its modules. It is called after the weights are drawn, and
is not called for "published".

Sources:  Devlin et al. (2019), BERT, A.2; Trockman and Kolter (2023), Mimetic Initialization of Self-Attention Layers (a
          start that copies what trained heads look like).
"""

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError

SCHEMES = ("neighbours", "fan-in", "published")
PUBLISHED_DEVIATION, TABLE_DEVIATION = 0.02, 0.08  # of BERT's weights; of an embedding table's entries here


def initialise(model: nn.Module, scheme: str = "neighbours", generator: torch.Generator | None = None) -> None:
    """Draw the weights of every `nn.Linear` and `nn.Embedding` of any `model`; their biases and padding rows become 0.

    All other parameters (the gains of norms, recurrent cells, frozen tables) stay as they are. See the top of the file.
    Raises InputError for a scheme that is not known.
    """
    if scheme not in SCHEMES:
        raise InputError(f"initialisation '{scheme}' is not known: choose one of {', '.join(SCHEMES)}.")
    published = scheme == "published"
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                deviation = PUBLISHED_DEVIATION if published else module.in_features**-0.5
                module.weight.normal_(0, deviation, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
                deviation = PUBLISHED_DEVIATION if published else TABLE_DEVIATION
                module.weight.normal_(0, deviation, generator=generator)
                if module.padding_idx is not None:
                    module.weight[module.padding_idx] = 0
        for module in model.modules() if not published else ():
            if callable(start := getattr(module, "start", None)):  # in a CRF, start is a vector
                start(scheme)


def warm_start(table: nn.Embedding, vectors: np.ndarray) -> None:
    """Start an embedding table [V, C] from word vectors [V, n], n ≤ C, in its last n features; the others stay as drawn.

    The vectors are scaled to the size that the table's own entries have there. Tokens without a vector stay as drawn.
    """
    given = torch.from_numpy(vectors).to(table.weight)
    with torch.no_grad():
        room = table.weight[:, -given.size(1) :]  # a view
        seen = given.any(dim=1)
        if given[seen].unique().numel() > 1:  # no vectors, or vectors that are all alike, have no size to measure
            room[seen] = given[seen] * (room.std() / given[seen].std())

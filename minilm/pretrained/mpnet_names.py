"""MPNet's weights by name, and what is folded together so that `transformers` computes our scores.

Our models have segments and no table of positions; MPNet has a table of positions and no segments. For single texts, both
add one vector to each token's: ours that of segment 0. So every row of the table of positions that we write is this vector.
What our model consists of stands beside it, under names that `transformers` leaves out, and is read back from there bit for
bit; the folded table is for `transformers` alone. A file of `transformers` has no such names: there the table is the model's.
"""

import torch
from torch import Tensor

from minilm.errors import InputError
from minilm.pretrained.bert_names import HEADS, NAMES as OF_BERT, Layout

TABLE = "mpnet.embeddings.word_embeddings.weight"
POSITIONS = "mpnet.embeddings.position_embeddings.weight"
OUR_POSITIONS = "mpnet.embeddings.minilm_positions.weight"  # without a segment's vector
SEGMENTS = "mpnet.embeddings.minilm_token_types.weight"

# theirs → ours, as in `bert_names.py`
NAMES = {
    TABLE: "encoder.embeddings.tokens.weight",
    POSITIONS: "encoder.embeddings.positions.weight",
    SEGMENTS: "encoder.embeddings.token_types.weight",
    "mpnet.embeddings.LayerNorm.weight": "encoder.embeddings.norm.gain",
    "mpnet.embeddings.LayerNorm.bias": "encoder.embeddings.norm.bias",
    "mpnet.encoder.relative_attention_bias.weight": "encoder.stack.relative_bias.table",
    "mpnet.encoder.layer.{n}.attention.attn.q.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[0]",
    "mpnet.encoder.layer.{n}.attention.attn.k.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[1]",
    "mpnet.encoder.layer.{n}.attention.attn.v.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[2]",
    "mpnet.encoder.layer.{n}.attention.attn.o.{p}": "encoder.stack.layers.{n}.attention.output.{p}",
    "mpnet.encoder.layer.{n}.attention.LayerNorm.weight": "encoder.stack.layers.{n}.attention_norm.gain",
    "mpnet.encoder.layer.{n}.attention.LayerNorm.bias": "encoder.stack.layers.{n}.attention_norm.bias",
    "mpnet.encoder.layer.{n}.intermediate.dense.{p}": "encoder.stack.layers.{n}.feed_forward.inner.{p}",
    "mpnet.encoder.layer.{n}.output.dense.{p}": "encoder.stack.layers.{n}.feed_forward.outer.{p}",
    "mpnet.encoder.layer.{n}.output.LayerNorm.weight": "encoder.stack.layers.{n}.feed_forward_norm.gain",
    "mpnet.encoder.layer.{n}.output.LayerNorm.bias": "encoder.stack.layers.{n}.feed_forward_norm.bias",
    "mpnet.pooler.dense.{p}": "pooler.dense.{p}",
    "lm_head.dense.{p}": "mlm_head.dense.{p}",
    "lm_head.layer_norm.weight": "mlm_head.norm.gain",
    "lm_head.layer_norm.bias": "mlm_head.norm.bias",
    "lm_head.bias": "mlm_head.bias",
    # the heads that MPNet has in common with BERT, or has not at all
    **{theirs: ours for theirs, ours in OF_BERT.items() if not theirs.startswith(("bert.", "cls.predictions."))},
}
MPNET = Layout(
    prefix="mpnet.",
    names=NAMES,
    repeated={"lm_head.decoder.weight": TABLE, "lm_head.decoder.bias": "lm_head.bias"},
    buffers=("mpnet.embeddings.position_ids",),
    heads=("mpnet.pooler.", "lm_head.", *HEADS[2:]),
)
# The head of `MPNetForSequenceClassification` → the same layers under the names that they have in other models
TEXT_HEAD = {
    f"classifier.{theirs}.{p}": f"{ours}.{p}"
    for theirs, ours in {"dense": "mpnet.pooler.dense", "out_proj": "classifier"}.items()
    for p in ("weight", "bias")
}


def folded(weights: dict[str, Tensor], max_length: int) -> dict[str, Tensor]:
    """The tensors of a file: with a table of positions in which the vector of segment 0 is contained, and ours beside it.

    If that vector is 0 and there are no others, as in a published MPNet, there is nothing to fold.
    """
    segments, positions = weights[SEGMENTS], weights.get(POSITIONS)
    if positions is None:
        return weights | {POSITIONS: segments[:1].repeat(max_length + 2, 1)}
    if len(segments) == 1 and not segments.any():
        return {name: tensor for name, tensor in weights.items() if name != SEGMENTS}
    return weights | {POSITIONS: positions + segments[0], OUR_POSITIONS: positions}


def unfolded(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `folded`, for the tensors of a file or for their shapes alone."""
    out = dict(found)
    if SEGMENTS in out:
        out.pop(POSITIONS, None)
        if (positions := out.pop(OUR_POSITIONS, None)) is not None:
            out[POSITIONS] = positions
    elif (table := out.get(TABLE)) is not None and table.dim() == 2:
        out[SEGMENTS] = torch.zeros_like(table[:1], dtype=None if table.is_floating_point() else torch.float32)
    return out


def as_text_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The pooler and the head of a classifier of texts under the names of `MPNetForSequenceClassification`."""
    table = {ours: theirs for theirs, ours in TEXT_HEAD.items()}
    return {table.get(name, name): tensor for name, tensor in weights.items()}


def from_text_head(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `as_text_head`, if a file has this head. A pooler, which this head does not read, makes way for it.

    Raises InputError if a file has an output layer of both kinds.
    """
    if "classifier.out_proj.weight" not in found:
        return found
    if twice := sorted({"classifier.weight", "classifier.bias"} & found.keys()):
        raise InputError(f"the weights hold two heads: {', '.join([*twice, 'classifier.out_proj.weight'])}.")
    kept = {name: tensor for name, tensor in found.items() if not name.startswith(MPNET.heads[0])}
    return {TEXT_HEAD.get(name, name): tensor for name, tensor in kept.items()}

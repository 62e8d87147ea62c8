"""BERT's weights by name: ours under the names that `transformers` uses, and theirs under ours.

Read `NAMES` from top to bottom: it is BERT, part by part.
"""

import re
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from minilm.errors import InputError

# theirs → ours; {n} is the number of a layer, {p} is weight or bias
NAMES = {
    "bert.embeddings.word_embeddings.weight": "encoder.embeddings.tokens.weight",
    "bert.embeddings.position_embeddings.weight": "encoder.embeddings.positions.weight",
    "bert.embeddings.token_type_embeddings.weight": "encoder.embeddings.token_types.weight",
    "bert.embeddings.LayerNorm.weight": "encoder.embeddings.norm.gain",
    "bert.embeddings.LayerNorm.bias": "encoder.embeddings.norm.bias",
    # query, key and value are one product here and three there: see `split_qkv` and `join_qkv`
    "bert.encoder.layer.{n}.attention.self.query.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[0]",
    "bert.encoder.layer.{n}.attention.self.key.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[1]",
    "bert.encoder.layer.{n}.attention.self.value.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}[2]",
    "bert.encoder.layer.{n}.attention.output.dense.{p}": "encoder.stack.layers.{n}.attention.output.{p}",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.weight": "encoder.stack.layers.{n}.attention_norm.gain",
    "bert.encoder.layer.{n}.attention.output.LayerNorm.bias": "encoder.stack.layers.{n}.attention_norm.bias",
    "bert.encoder.layer.{n}.intermediate.dense.{p}": "encoder.stack.layers.{n}.feed_forward.inner.{p}",
    "bert.encoder.layer.{n}.output.dense.{p}": "encoder.stack.layers.{n}.feed_forward.outer.{p}",
    "bert.encoder.layer.{n}.output.LayerNorm.weight": "encoder.stack.layers.{n}.feed_forward_norm.gain",
    "bert.encoder.layer.{n}.output.LayerNorm.bias": "encoder.stack.layers.{n}.feed_forward_norm.bias",
    "bert.pooler.dense.{p}": "pooler.dense.{p}",
    "cls.predictions.transform.dense.{p}": "mlm_head.dense.{p}",
    "cls.predictions.transform.LayerNorm.weight": "mlm_head.norm.gain",
    "cls.predictions.transform.LayerNorm.bias": "mlm_head.norm.bias",
    "cls.predictions.bias": "mlm_head.bias",
    "cls.seq_relationship.{p}": "nsp_head.{p}",
    "classifier.{p}": "head.{p}",
    "crf.A": "crf.A",  # `transformers` has no CRF and leaves these out
    "crf.start": "crf.start",
    "crf.end": "crf.end",
}
# In files of `transformers` the output matrix and its bias may appear a second time; both are the tensors named here.
REPEATED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
# In older files: 0, 1, 2 … and 0, 0, 0 …, which nobody learned
BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")
OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}  # as TensorFlow called them
ENCODER = ("embeddings.", "encoder.", "pooler.")  # how names begin if the encoder was published alone
# What stands on the encoder. Some models have it and others do not.
HEADS = ("bert.pooler.", "cls.predictions.", "cls.seq_relationship.", "classifier.", "crf.")
OWN_CRF = ("crf.A", "crf.start", "crf.end")
SPAN_HEAD = "qa_outputs."  # how `BertForQuestionAnswering` calls the layer that is "classifier." everywhere else


class Layout(NamedTuple):
    """How a file of `transformers` names the weights of one architecture: the tables above, for BERT."""

    prefix: str = "bert."  # of everything that is not a head
    names: dict[str, str] = NAMES
    repeated: dict[str, str] = REPEATED
    buffers: tuple[str, ...] = BUFFERS
    heads: tuple[str, ...] = HEADS  # the pooler first

    @property
    def parts(self) -> tuple[str, ...]:
        """What a model of `transformers` consists of."""
        return (self.prefix, *self.heads[1:])


BERT = Layout()


def modern(name: str, layout: Layout = BERT) -> str:
    """A name of `transformers` as it is today: with `bert.` in front, and a norm's vectors called weight and bias."""
    name = f"{layout.prefix}{name}" if name.startswith(ENCODER) else name
    for old, new in OLD.items():
        name = f"{name.removesuffix(old)}{new}" if name.endswith(old) else name
    return name


def to_hf_names(weights: dict[str, Tensor], layout: Layout = BERT) -> dict[str, Tensor]:
    """Our weights under the names of `transformers`. A tensor without a name there gets "minilm." in front of ours."""
    out, table = {}, {ours: theirs for theirs, ours in layout.names.items()}
    for name, tensor in split_qkv(weights).items():
        out[translate(name, table) or f"minilm.{name}"] = tensor.contiguous()
    return out


def from_hf_names(weights: dict[str, Tensor], layout: Layout = BERT) -> dict[str, Tensor]:
    """The tensors of a file of `transformers` under our names.

    Raises InputError for tensors that have no counterpart here (one message names them all), and for an output matrix that
    is not the embedding table: it would be left out, and the model would score every token wrongly.
    """
    out, unknown = {}, []
    weights = renamed(weights, layout)
    for name, tensor in weights.items():
        if first := layout.repeated.get(name):
            if not torch.equal(tensor, weights.get(first, tensor)):
                raise InputError(f"{name} is a tensor of its own; a model of minilm shares it with {first}.")
            continue
        translated = name.removeprefix("minilm.") if name.startswith("minilm.") else translate(name, layout.names)
        if translated is None:
            unknown.append(name)
        else:
            out[translated] = tensor
    if unknown:
        raise InputError(f"the weights hold tensors that minilm does not know: {', '.join(sorted(unknown))}.")
    return join_qkv(out)


def renamed(weights: dict[str, Tensor], layout: Layout = BERT) -> dict[str, Tensor]:
    """The same tensors under today's names, without what older files store although nobody learned it.

    Raises InputError if a file holds one tensor under an old and a new name.
    """
    out = {modern(name, layout): tensor for name, tensor in weights.items()}
    if len(out) < len(weights):
        twice = sorted(name for name in weights if name != (new := modern(name, layout)) and new in weights)
        raise InputError(f"the weights hold one tensor under two names: {', '.join(twice)}.")
    for name in layout.buffers:
        out.pop(name, None)
    for second, first in layout.repeated.items():  # a file that stores a shared tensor once may do so under either name
        if second in out and first not in out:
            out[first] = out.pop(second)
    if any(name.startswith("classifier.") for name in out):
        return out
    return {
        f"classifier.{name.removeprefix(SPAN_HEAD)}" if name.startswith(SPAN_HEAD) else name: tensor
        for name, tensor in out.items()
    }


def as_span_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model that finds answers, with its head under the name that it has in `transformers`."""
    return {name.replace("classifier.", SPAN_HEAD, 1): tensor for name, tensor in weights.items()}


def misfits(
    expected: dict[str, Tensor], found: dict[str, Tensor], may_lack: tuple[str, ...] = (), layout: Layout = BERT
) -> Iterator[str]:
    """Everything that keeps the tensors of a file from filling a model: missing, of another shape, unknown.

    A head that the model lacks is not a fault, whatever it is made of; see `unused`. One that the file lacks is not a fault
    if it is in `may_lack` and is missing as a whole. But a tensor that belongs to a part that the model has, and that the
    model has no place for, is one: without it, that part would compute something else.
    """
    absent = tuple(head for head in may_lack if not any(name.startswith(head) for name in found))
    missing = [name for name in expected if name not in found and not name.startswith(absent)]
    wrong = [name for name in expected if name in found and expected[name].shape != found[name].shape]
    parts = ("minilm.", *(part for part in layout.parts if any(name.startswith(part) for name in expected)))
    # the logits of a CRF are not what another head computes
    parts += OWN_CRF if "classifier.weight" in expected else ()
    pooler = layout.heads[0]
    further = [n for n in found if n in layout.repeated or n.startswith(pooler) or not n.startswith(parts)]
    unknown = sorted(found.keys() - expected.keys() - set(further))
    if missing:
        yield f"missing {', '.join(missing)}"
    for name in wrong:
        yield f"{name} is {list(found[name].shape)} and should be {list(expected[name].shape)}"
    if unknown:
        yield f"unknown {', '.join(unknown)}"


def used(expected: Container[str], found: Iterable[str], layout: Layout = BERT) -> list[str]:
    """The names in a file that a model reads: those that it needs, and the second copies of what its head shares."""
    head = all(first in expected for first in layout.repeated.values())
    return [name for name in found if name in expected or (head and name in layout.repeated)]


def translate(name: str, table: dict[str, str]) -> str | None:
    """What `name` becomes by the one row of the table that fits it; None if no row does."""
    for left, right in table.items():
        pattern = re.escape(left).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{p\}", "(?P<p>weight|bias)")
        if found := re.fullmatch(pattern, name):
            return right.format(**found.groupdict())
    return None


def split_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """`to_qkv.weight` [3C, C] → `to_qkv.weight[0]`, `[1]`, `[2]`, each [C, C]; the bias likewise."""
    out: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        parts = tensor.chunk(3) if ".to_qkv." in name else None
        out |= {name: tensor} if parts is None else {f"{name}[{i}]": part for i, part in enumerate(parts)}
    return out


def join_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo `split_qkv`. Raises InputError if one of the three parts is missing."""
    out = {name: tensor for name, tensor in weights.items() if "[" not in name}
    for name in {name[:-3] for name in weights if "[" in name}:
        parts = [weights[part] for part in (f"{name}[{i}]" for i in range(3)) if part in weights]
        if len(parts) < 3:
            raise InputError(f"query, key and value must come together; one of them is missing for {name}.")
        out[name] = torch.cat(parts)
    return out

"""The same BERT: ours, ours with products by oneDNN, ours with the formulas written out, PyTorch's encoder, and `transformers`.

All start from the same weights. Our models use our clipping and our AdamW; the referees use PyTorch's clip_grad_norm_ and
its fused AdamW, the fastest that it has, so that nobody is slowed down by somebody else's optimizer.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.layers.products import has_onednn, products
from minilm.layers.transformer import at_positions, use_fused
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.pretrained.bert import hf_config
from minilm.pretrained.bert_names import REPEATED, to_hf_names
from minilm.pretrained.weights import weights_of
from minilm.training.objectives import BertPretraining
from minilm.training.optimizer import AdamW, clip_gradients, parameter_groups

LEARNING_RATE, DECAY, BETAS, EPS, CLIP = 1e-4, 0.01, (0.9, 0.98), 1e-6, 1.0
OURS, ONEDNN = "ours", "ours, products by oneDNN"
READABLE = "ours, formulas written out"
TORCH = "nn.TransformerEncoder, our heads"
SDPA, EAGER = "transformers, sdpa", "transformers, eager"


@dataclass
class Contender:
    """A model, how its loss is computed from a batch, and how it takes a step. `losses` keeps the loss of every step."""

    model: nn.Module
    loss_of: Callable[[Batch], Tensor]
    update: Callable[[], None]
    losses: list[float] = field(default_factory=list)

    def step(self, batch: Batch) -> None:
        """Forward, both losses, backward, clip, AdamW."""
        loss = self.loss_of(batch)
        loss.backward()
        self.update()
        self.losses.append(loss.item())

    def learn(self, batches: list[Batch]) -> None:
        """A step on each batch."""
        for batch in batches:
            self.step(batch)


def contenders(model: BertForPretraining) -> dict[str, Contender]:
    """Every contender, by name, with the weights of `model`, which does not change."""
    readable = copy.deepcopy(model)
    use_fused(readable, False)
    return {
        **ours(model),
        READABLE: by_us(readable, our_update(readable)),
        TORCH: by_us(referee := with_torch_encoder(model), torch_update(referee)),
        SDPA: by_transformers(model, "sdpa"),
        EAGER: by_transformers(model, "eager"),
    }


def ours(model: BertForPretraining) -> dict[str, Contender]:
    """Our model with the products of either library, as far as this PyTorch has them."""
    out = {}
    for name, by in {OURS: "torch", ONEDNN: "onednn"}.items():
        if by == "torch" or has_onednn():
            use_fused(plain := copy.deepcopy(model), True)
            out[name] = by_us(plain, our_update(plain), by)
    return out


def by_us(model: BertForPretraining, update: Callable[[], None], by: str = "torch") -> Contender:
    """A model of ours: it computes logits only at the masked positions. `by` is the library of its products."""
    objective = BertPretraining(next_sentence_weight=1.0)

    def loss_of(batch: Batch) -> Tensor:
        with products(by):
            return objective.step(model, batch).loss

    return Contender(model.train(), loss_of, update)


def by_transformers(model: BertForPretraining, attention: str) -> Contender:
    """Its own call with its own losses: it is made to compute logits at every position."""
    referee = transformers_bert(model, attention).train()

    def loss_of(batch: Batch) -> Tensor:
        attention_mask = None if batch.attention_mask is None else batch.attention_mask.long()
        labels = dict(labels=batch.labels, next_sentence_label=batch.nsp_labels)
        token_type_ids = batch.token_type_ids
        return referee(batch.input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, **labels).loss

    return Contender(referee, loss_of, torch_update(referee))


def our_update(model: nn.Module) -> Callable[[], None]:
    """Our clipping and our AdamW."""
    optimizer = AdamW(parameter_groups(model, DECAY), betas=BETAS, eps=EPS)

    def update() -> None:
        clip_gradients(model.parameters(), CLIP)
        optimizer.step(LEARNING_RATE)
        optimizer.zero_grad()

    return update


def torch_update(model: nn.Module) -> Callable[[], None]:
    """PyTorch's clipping and its fused AdamW."""
    groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in parameter_groups(model, DECAY)]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, eps=EPS, fused=True)

    def update() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    return update


def transformers_bert(model: BertForPretraining, attention: str) -> nn.Module:
    """`BertForPreTraining` of `transformers` with the weights of `model`; `attention` is "sdpa" or "eager".

    Raises InputError if `transformers` is not installed, or has other names for the weights.
    """
    try:
        import transformers
    except ImportError:
        raise InputError("the referee transformers is not installed: pip install transformers") from None
    settings: dict[str, Any] = hf_config(model.config, "BertForPreTraining") | {"attn_implementation": attention}
    referee = cast(nn.Module, transformers.BertForPreTraining(transformers.BertConfig(**settings)))
    referee.to(next(model.parameters()).dtype)
    lacking, unknown = referee.load_state_dict(to_hf_names(weights_of(model)), strict=False)
    if unknown or set(lacking) - REPEATED.keys():
        raise InputError(f"this version of transformers has other names for BERT's weights: {[*unknown, *lacking]}.")
    return referee


class TorchEncoder(nn.Module):
    """`nn.TransformerEncoder`, called like our `TransformerStack`."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        c = config
        block = nn.TransformerEncoderLayer(
            c.width, c.heads, c.feed_forward, 0.0, "gelu", c.epsilon, batch_first=True, norm_first=False
        )
        self.encoder = nn.TransformerEncoder(block, c.layers, enable_nested_tensor=False)

    def forward(
        self,
        x: Tensor,
        may_attend: Tensor | None = None,
        need_weights: bool = False,
        query_positions: Tensor | None = None,
    ) -> tuple[Tensor, list]:
        padding = None if may_attend is None else ~may_attend[:, 0, 0]
        x = self.encoder(x, src_key_padding_mask=padding)  # it cannot leave any positions out
        return x if query_positions is None else at_positions(x, query_positions), []


def with_torch_encoder(model: BertForPretraining) -> BertForPretraining:
    """A copy of `model` with PyTorch's blocks; embeddings, heads and losses stay ours."""
    out = copy.deepcopy(model)
    encoder = TorchEncoder(model.config).to(next(model.parameters()).dtype)
    for ours, theirs in zip(model.encoder.stack.layers, encoder.encoder.layers, strict=True):
        pairs = {
            "self_attn.in_proj_": ours.attention.to_qkv,
            "self_attn.out_proj.": ours.attention.output,
            "linear1.": ours.feed_forward.inner,
            "linear2.": ours.feed_forward.outer,
        }
        weights = {
            f"{name}{part}": getattr(layer, part) for name, layer in pairs.items() for part in ("weight", "bias")
        }
        for name, norm in {"norm1.": ours.attention_norm, "norm2.": ours.feed_forward_norm}.items():
            weights |= {f"{name}weight": norm.gain, f"{name}bias": norm.bias}
        theirs.load_state_dict(weights)
    cast(Any, out.encoder).stack = encoder
    return out

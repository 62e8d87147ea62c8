"""The same BERT four times over: ours, ours with the formulas written out, PyTorch's encoder, and `transformers`.

All start from the same weights. What is ours goes through our clipping and our AdamW; the referees get PyTorch's
clip_grad_norm_ and its fused AdamW, the fastest it has, so that nobody is slowed down by somebody else's optimizer.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.jobs.pretrain import losses_of
from minilm.layers.transformer import at_positions, use_fused
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.pretrained.bert import REPEATED, hf_config, to_hf_names
from minilm.pretrained.weights import weights_of
from minilm.training.optimizer import AdamW, clip_gradients, parameter_groups

RATE, DECAY, BETAS, EPS, CLIP = 1e-4, 0.01, (0.9, 0.98), 1e-6, 1.0
OURS = "ours"
READABLE = "ours, formulas written out"
TORCH = "nn.TransformerEncoder, our heads"
SDPA, EAGER = "transformers, sdpa", "transformers, eager"


@dataclass
class Contender:
    """A model, how its loss is had from a batch, and how it takes a step. `losses` keeps what it has seen."""

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


def contenders(model: BertForPretraining) -> dict[str, Contender]:
    """Every contender with the weights of `model`, which itself stays as it is."""
    plain, readable = copy.deepcopy(model), copy.deepcopy(model)
    use_fused(plain, True)
    use_fused(readable, False)
    return {
        OURS: by_us(plain, our_update(plain)),
        READABLE: by_us(readable, our_update(readable)),
        TORCH: by_us(referee := with_torch_encoder(model), torch_update(referee)),
        SDPA: by_transformers(model, "sdpa"),
        EAGER: by_transformers(model, "eager"),
    }


def by_us(model: BertForPretraining, update: Callable[[], None]) -> Contender:
    """Words are scored at the masked positions only."""
    return Contender(model.train(), lambda batch: losses_of(model, batch, 1.0)[0], update)


def by_transformers(model: BertForPretraining, attention: str) -> Contender:
    """Its own call with its own losses: words are scored at every position, for that is how it is made."""
    referee = transformers_bert(model, attention).train()

    def loss_of(batch: Batch) -> Tensor:
        attention_mask = None if batch.attention_mask is None else batch.attention_mask.long()
        answers = dict(labels=batch.words, next_sentence_label=batch.is_next)
        return referee(batch.ids, attention_mask=attention_mask, token_type_ids=batch.token_type_ids, **answers).loss

    return Contender(referee, loss_of, torch_update(referee))


def our_update(model: nn.Module) -> Callable[[], None]:
    optimizer = AdamW(parameter_groups(model, DECAY), betas=BETAS, eps=EPS)

    def update() -> None:
        clip_gradients(model.parameters(), CLIP)
        optimizer.step(RATE)
        optimizer.zero_grad()

    return update


def torch_update(model: nn.Module) -> Callable[[], None]:
    groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in parameter_groups(model, DECAY)]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, eps=EPS, fused=True)

    def update() -> None:
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()

    return update


def transformers_bert(model: BertForPretraining, attention: str) -> nn.Module:
    """`BertForPreTraining` of `transformers` with the weights of `model`; `attention` is "sdpa" or "eager"."""
    try:
        import transformers
    except ImportError:
        raise InputError("the referee transformers is not installed: pip install transformers") from None
    settings = hf_config(model.config, "BertForPreTraining")
    config = transformers.TransformerConfig(**settings, attn_implementation=attention)
    referee = transformers.BertForPreTraining(config).to(next(model.parameters()).dtype)
    lacking, unknown = referee.load_state_dict(to_hf_names(weights_of(model)), strict=False)
    if unknown or set(lacking) - REPEATED.keys():
        raise InputError(f"this version of transformers names BERT's weights otherwise: {[*unknown, *lacking]}.")
    return referee


class TorchEncoder(nn.Module):
    """`nn.TransformerEncoder` behind the signature of our `TransformerStack`."""

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
        x = self.encoder(x, src_key_padding_mask=padding)  # it has no way of leaving positions out
        return x if query_positions is None else at_positions(x, query_positions), []


def with_torch_encoder(model: BertForPretraining) -> BertForPretraining:
    """A copy of `model` whose blocks are PyTorch's: embeddings, heads and losses stay ours."""
    out = copy.deepcopy(model)
    encoder = TorchEncoder(model.config).to(next(model.parameters()).dtype)
    for ours, theirs in zip(model.bert.encoder.layers, encoder.encoder.layers, strict=True):
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
    out.bert.encoder = encoder
    return out

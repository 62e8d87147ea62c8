r"""The document's own model, Embedding → LSTM → LSTM → Dense, as language model, classifier and tagger.  F17.

Letters:  B batch · T length · E embedding · Y output width = directions·hidden · V vocabulary · K classes or tags
Source:   D1 §5.2, Embedding(1000, 64) → LSTM(128) → LSTM(128) → Dense(vocab, softmax): the defaults of `LSTMConfig`.

The models return logits. The softmax of F17 belongs to the loss, which takes its logarithm without overflow; applied
here as well, it would be taken twice. `real` [B, T] is True for words and False for padding, which stands at the end.
"""

import math
from dataclasses import asdict, dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import skip_init

from minilm.errors import InputError
from minilm.layers.dropout import Dropout
from minilm.layers.recurrent import Recurrent
from minilm.models.bert import mean_of_words

MODEL_TYPE = "minilm-lstm"
# beyond, the machine is filled before it complains, or cannot count the numbers
MOST = {"layers": 1_000}
MOST |= dict.fromkeys(("vocab_size", "embedding", "hidden", "classes"), 10_000_000)


@dataclass(frozen=True)
class LSTMConfig:
    """The shape of a model. Checked when made, so that a wrong size is named before anything is built."""

    vocab_size: int = 1000
    embedding: int = 64
    hidden: int = 128
    layers: int = 2
    classes: int = 2  # of the classifier and the tagger
    bidirectional: bool = False
    dropout: float = 0.0  # on the embeddings, between the layers and before the last product
    pooling: str = "mean"  # the classifier's: "mean" of the real words · "last": the state after the last word
    pad_id: int = 0

    def __post_init__(self):
        for name in ("vocab_size", "embedding", "hidden", "layers"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1.")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} {getattr(self, name):,} must be at most {most:,}.")
        if self.classes < 2:
            raise InputError(f"classes {self.classes} must be at least 2: with one there is nothing to tell apart.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1).")
        if self.pooling not in ("mean", "last"):
            raise InputError(f"pooling '{self.pooling}' is not known: choose mean or last.")
        if not 0 <= self.pad_id < self.vocab_size:
            raise InputError(f"pad_id {self.pad_id} is not in the vocabulary of {self.vocab_size} words.")

    def to_json(self) -> dict[str, object]:
        """What goes into `config.json`."""
        return {"model_type": MODEL_TYPE, **asdict(self)}

    @classmethod
    def from_json(cls, entries: dict[str, object]) -> "LSTMConfig":
        """The config that `to_json` wrote. Other entries of the file, such as the names of the labels, are passed over.

        Raises `InputError` if the file is another model's, or lacks one of the sizes.
        """
        if entries.get("model_type") != MODEL_TYPE:
            raise InputError(f"config.json has model_type {entries.get('model_type')!r}; an LSTM's is '{MODEL_TYPE}'.")
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in entries]:
            raise InputError(f"config.json lacks {', '.join(missing)}; save the model again, or add what is missing.")
        return cls(**{name: entries[name] for name in names})


class _Trunk(nn.Module):
    """Embedding and LSTM layers, which the three models share, and a last product of their own width.

    `embedding.weight` [V, E] starts as N(0, 1), its row of padding as zeros; word vectors can be copied into it.
    """

    def __init__(self, config: LSTMConfig, outputs: int, generator: torch.Generator | None = None):
        super().__init__()
        c = self.config = config
        table = torch.randn(c.vocab_size, c.embedding, generator=generator)
        table[c.pad_id] = 0
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=c.pad_id)
        self.lstm = Recurrent("lstm", c.embedding, c.hidden, c.layers, c.bidirectional, c.dropout, generator)
        self.dropout = Dropout(c.dropout)
        self.head = skip_init(nn.Linear, self.lstm.output_size, outputs)  # not drawn twice, and not without `generator`
        bound = 1 / math.sqrt(self.lstm.output_size)
        with torch.no_grad():
            self.head.weight.uniform_(-bound, bound, generator=generator)
            self.head.bias.zero_()

    def encode(
        self, ids: Int[Tensor, "B T"], real: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T Y"], Float[Tensor, "B Y"]]:
        """The last layer's outputs at every word (zeros at padding), and its state after the last word it reads.

        Raises `InputError` if a word stands after padding: a recurrence cannot step over a gap.
        """
        if real is not None and bool((real[:, 1:] & ~real[:, :-1]).any()):
            raise InputError("a row has a word after padding; an LSTM reads from left to right: put the padding last.")
        lengths = None if real is None else real.sum(dim=1)
        words, (h, _) = self.lstm(self.dropout(self.embedding(ids)), lengths)
        return words, torch.cat(list(h[-self.lstm.directions :]), dim=-1)  # each direction's own last word


class LSTMLanguageModel(_Trunk):
    r"""logits of P(wₜ₊₁ ∣ w₁ … wₜ) at every t.  F17, F23.

    Raises `InputError` for a bidirectional config: the way back would see the word to be predicted.
    """

    def __init__(self, config: LSTMConfig | None = None, generator: torch.Generator | None = None):
        config = config or LSTMConfig()
        if config.bidirectional:
            raise InputError("a language model cannot be bidirectional: it would see the word that it is to predict.")
        super().__init__(config, config.vocab_size, generator)

    def forward(self, ids: Int[Tensor, "B T"], real: Bool[Tensor, "B T"] | None = None) -> Float[Tensor, "B T V"]:
        """Row t predicts word t + 1: the labels are `ids` moved one to the left, the last one being −100."""
        words, _ = self.encode(ids, real)
        return self.head(self.dropout(words))


class LSTMClassifier(_Trunk):
    """One row of logits for a text, from the mean of its words or from the state after the last one.

    "last" is the textbook's. "mean" gives every word a short way to the loss: no gradient has to cross the whole text.
    """

    def __init__(self, config: LSTMConfig | None = None, generator: torch.Generator | None = None):
        config = config or LSTMConfig()
        super().__init__(config, config.classes, generator)

    def forward(
        self, ids: Int[Tensor, "B T"], real: Bool[Tensor, "B T"] | None = None, types: Tensor | None = None
    ) -> Float[Tensor, "B K"]:
        """`types`, the segments of a pair, is there so that BERT and LSTM are called alike: an LSTM reads the [SEP]."""
        words, last = self.encode(ids, real)
        text = mean_of_words(words, real) if self.config.pooling == "mean" else last
        return self.head(self.dropout(text))


class LSTMTagger(_Trunk):
    """One row of logits for every word. Both ways (`bidirectional`) a word's tag can depend on what follows it."""

    def __init__(self, config: LSTMConfig | None = None, generator: torch.Generator | None = None):
        config = config or LSTMConfig()
        super().__init__(config, config.classes, generator)

    def forward(
        self, ids: Int[Tensor, "B T"], real: Bool[Tensor, "B T"] | None = None, types: Tensor | None = None
    ) -> Float[Tensor, "B T K"]:
        """`types`, the segments of a pair, is there so that BERT and LSTM are called alike: an LSTM reads the [SEP]."""
        words, _ = self.encode(ids, real)
        return self.head(self.dropout(words))

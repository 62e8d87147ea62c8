"""Run folders: a model with its tokenizer, written in the layout of `transformers` and opened again.

config.json  model.safetensors  tokenizer.json  tokenizer_config.json
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from minilm.errors import InputError
from minilm.huggingface import our_config, read_config, read_safetensors, read_weights, their_config, to_theirs
from minilm.models.bert import BertClassifier, BertConfig, BertForPretraining, HeadConfig
from minilm.models.lstm import LSTMClassifier, LSTMConfig, LSTMTagger
from minilm.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from minilm.training.checkpoint import load_weights, weights_of, write_json, write_tensors, write_text


@dataclass(frozen=True)
class Opened:
    """A model from a folder, ready to be used: in evaluation mode, with the tokenizer that it was trained with."""

    model: nn.Module
    tokenizer: Tokenizer
    folder: Path
    lacking: tuple[str, ...] = ()  # names of weights that the folder does not hold; they are as drawn

    @property
    def max_length(self) -> int | None:
        """The longest input, with special tokens; None: any length."""
        return getattr(self.model.config, "max_length", None)


def save_bert(folder: Path, model: BertForPretraining | BertClassifier, tokenizer: Tokenizer) -> None:
    """Write a BERT with its head so that MiniLM and `transformers` open it."""
    extra = {}
    architecture = "BertForPreTraining"
    if isinstance(model, BertClassifier):
        head = model.head_config
        names = {str(i): label for i, label in enumerate(head.labels)}
        extra = {"id2label": names, "label2id": {label: int(i) for i, label in names.items()}}
        extra["minilm_head"] = asdict(head)
        kind = {"text": "SequenceClassification", "token": "TokenClassification"}[head.task]
        # a head on the mean of the words has no class of its own there: the encoder opens, the head is ours
        architecture = f"BertFor{kind}" if head.task == "token" or head.pooling == "cls" else "BertModel"
    write_folder(folder, their_config(model.config, architecture, **extra), to_theirs(weights_of(model)), tokenizer)


def save_lstm(folder: Path, model: LSTMClassifier | LSTMTagger, labels: tuple[str, ...], tokenizer: Tokenizer) -> None:
    """The same for an LSTM, whose weights have no names but ours."""
    config = model.config.to_json() | {"architectures": [type(model).__name__], "labels": list(labels)}
    write_folder(folder, config, weights_of(model), tokenizer)


def write_folder(folder: Path, config: dict, weights: dict, tokenizer: Tokenizer) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tokenizer.json", tokenizer.to_json())
    tokens = {token.strip("[]").lower() + "_token": token for token in SPECIAL_TOKENS}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | tokens)
    write_tensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", config)


def open_pretraining(folder: Path | str) -> Opened:
    """A BERT with its two pretraining heads."""
    folder = Path(folder)
    config = bert_config(folder)
    model = BertForPretraining(config)
    load_weights(model, read_weights(folder), str(folder))
    return Opened(model.eval(), Tokenizer.load(folder), folder)


def open_classifier(folder: Path | str) -> Opened:
    """A model that was fine-tuned: BERT or LSTM, for texts or for words."""
    folder = Path(folder)
    theirs = read_config(folder)
    if theirs.get("model_type") == "minilm-lstm":
        names = {"LSTMClassifier": LSTMClassifier, "LSTMTagger": LSTMTagger}
        model = names[theirs["architectures"][0]](LSTMConfig.from_json(theirs))
        model.labels = tuple(theirs["labels"])
        load_weights(model, read_safetensors(folder / "model.safetensors"), str(folder))
        return Opened(model.eval(), Tokenizer.load(folder), folder)
    config = our_config(theirs, str(folder / "config.json"))
    if "minilm_head" not in theirs:
        raise InputError(f"{folder} holds no classifier: fine-tune it first (minilm finetune --model {folder} …).")
    head = theirs["minilm_head"]
    model = BertClassifier(config, HeadConfig(**head | {"labels": tuple(head["labels"])}))
    model.labels = model.head_config.labels
    load_weights(model, read_weights(folder), str(folder))
    return Opened(model.eval(), Tokenizer.load(folder), folder)


def encoder_into(model: BertClassifier, folder: Path) -> tuple[str, ...]:
    """Copy a pretrained encoder (and its pooler, if the model has one) into a classifier; its head stays as drawn."""
    missing = load_weights(model, read_weights(folder), str(folder), may_lack=("head.", "pooler."))
    return tuple(missing)


def bert_config(folder: Path) -> BertConfig:
    return our_config(read_config(folder), str(folder / "config.json"))


def tensorboard_writer(folder: Path, wanted: bool):
    """A function that writes one measurement for TensorBoard, or does nothing."""
    if not wanted:
        return lambda measured: None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs the package tensorboard: pip install 'minilm[tensorboard]'") from None
    writer = SummaryWriter(str(folder / "tensorboard"))

    def write(measured: dict[str, float]) -> None:
        for name in measured.keys() - {"step"}:
            writer.add_scalar(name, measured[name], measured["step"])
        writer.flush()

    return write

"""Run folders: a model with its tokenizer, written in the layout of `transformers` and opened again.

config.json  model.safetensors  tokenizer.json  tokenizer_config.json
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from minilm.errors import InputError
from minilm.huggingface import our_config, read_config, read_safetensors, read_weights, their_config, to_theirs
from minilm.models.bert import BertClassifier, BertConfig, BertForPretraining, HeadConfig
from minilm.models.lstm import MODEL_TYPE as LSTM_TYPE, LSTMClassifier, LSTMConfig, LSTMTagger
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
    inputs = ["input_ids", "token_type_ids", "attention_mask"]  # without it a pair would get no segments there
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": inputs}
    write_json(folder / "tokenizer_config.json", facts | tokens)
    write_tensors(folder / "model.safetensors", weights)
    write_json(folder / "config.json", config)


def open_pretraining(folder: Path | str) -> Opened:
    """A BERT with its two pretraining heads."""
    folder = Path(folder)
    config = bert_config(folder)
    weights = read_weights(folder)
    if "masked_words.dense.weight" not in weights:
        raise InputError(f"{folder} guesses no masked words: name a folder that `minilm pretrain` wrote.")
    model = BertForPretraining(config)
    load_weights(model, weights, str(folder))
    return Opened(model.eval(), tokenizer_for(config, folder), folder)


def tokenizer_for(config: BertConfig | LSTMConfig, folder: Path) -> Tokenizer:
    """The folder's tokenizer. One of another model would give ids that the embedding table does not have."""
    tokenizer = Tokenizer.load(folder)
    if tokenizer.size > config.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {tokenizer.size:,} tokens and the model {config.vocab_size:,}; they do not "
            "belong together."
        )
    return tokenizer


def open_classifier(folder: Path | str) -> Opened:
    """A model that was fine-tuned: BERT or LSTM, for texts or for words."""
    folder = Path(folder)
    theirs = read_config(folder)
    is_lstm = theirs.get("model_type") == LSTM_TYPE
    if not is_lstm and "minilm_head" not in theirs:
        our_config(theirs, str(folder / "config.json"))  # it may not be a BERT either
        raise InputError(f"{folder} holds no classifier: fine-tune it first (minilm finetune --model {folder} …).")
    try:
        model = lstm_of(theirs) if is_lstm else classifier_of(theirs, folder)
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(f"{folder / 'config.json'} does not describe a classifier: {error!r}.") from None
    weights = read_safetensors(folder / "model.safetensors") if is_lstm else read_weights(folder)
    load_weights(model, weights, str(folder))
    return Opened(model.eval(), tokenizer_for(model.config, folder), folder)


def lstm_of(ours: dict) -> LSTMClassifier | LSTMTagger:
    names = {"LSTMClassifier": LSTMClassifier, "LSTMTagger": LSTMTagger}
    model = names[ours["architectures"][0]](LSTMConfig.from_json(ours))
    model.labels = tuple(ours["labels"])
    if len(model.labels) != model.config.classes:
        raise InputError(f"config.json names {len(model.labels)} labels for a model of {model.config.classes} classes.")
    return model


def classifier_of(theirs: dict, folder: Path) -> BertClassifier:
    head = theirs["minilm_head"]
    config = our_config(theirs, str(folder / "config.json"))
    model = BertClassifier(config, HeadConfig(**head | {"labels": tuple(head["labels"])}))
    model.labels = model.head_config.labels
    return model


def encoder_into(model: BertClassifier, folder: Path) -> tuple[str, ...]:
    """Copy a pretrained encoder (and its pooler, if the model has one) into a classifier; its head stays as drawn.

    So does the head of a model that was fine-tuned before: its rows stand for other labels.
    """
    weights = {name: tensor for name, tensor in read_weights(folder).items() if not name.startswith("head.")}
    missing = load_weights(model, weights, str(folder), may_lack=("head.", "pooler."))
    return tuple(missing)


def bert_config(folder: Path) -> BertConfig:
    theirs = read_config(folder)
    if theirs.get("model_type") == LSTM_TYPE:
        raise InputError(f"{folder} holds an LSTM, and this needs a BERT: name a folder that `minilm pretrain` wrote.")
    return our_config(theirs, str(folder / "config.json"))


def refuse_to_overwrite(out: Path) -> None:
    """A model is never written over another one."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give --out the name of a folder.")
    if (out / "model.safetensors").exists():
        raise InputError(f"{out} holds a model already: choose another --out, or move that one away.")


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

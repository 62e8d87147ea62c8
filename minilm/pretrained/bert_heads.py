"""The heads of BERT and MPNet as `config.json` describes them: which class of `transformers` it is, and what its labels are."""

from typing import Any

from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.heads import (
    NUMBER,
    ONE_CLASS,
    SEVERAL,
    HeadConfig,
    SpanHeadConfig,
    TextHeadConfig,
    TokenHeadConfig,
)
from minilm.pretrained.bert_names import SPAN_HEAD, Layout

DROPOUT_KEY, DROPOUT = "hidden_dropout_prob", 0.1  # in config.json, and the value of `transformers` if it is missing
HEADED: dict[str, type[HeadConfig]] = {
    "BertForSequenceClassification": TextHeadConfig,
    "BertForTokenClassification": TokenHeadConfig,
    "BertForQuestionAnswering": SpanHeadConfig,
}


def hf_head(head: HeadConfig) -> tuple[str, dict]:
    """The class of `transformers` that has this head, and what `config.json` says about its labels."""
    names = {str(i): label for i, label in enumerate(head.labels)}
    extra: dict[str, Any] = {"id2label": names, "label2id": {label: int(i) for i, label in names.items()}}
    architecture = next((name for name, kind in HEADED.items() if isinstance(head, kind)), "BertModel")
    if isinstance(head, TextHeadConfig) and head.problem_type != ONE_CLASS:
        extra["problem_type"] = head.problem_type
    if isinstance(head, TextHeadConfig) and head.pooling != "cls":
        architecture = "BertModel"  # no class there has a head on the mean: the encoder opens, the head is ours
    return architecture, extra | {"classifier_dropout": head.dropout}


def head_from_hf(entries: dict, where: str = "config.json") -> HeadConfig | None:
    """The head that a `config.json` of `transformers` describes; None if there is none.
    Raises InputError for a head that predicts several numbers at once, because none of ours does.
    """
    names = entries.get("architectures")
    kind = HEADED.get(str(names[0])) if isinstance(names, list) and names else None
    return None if kind is None else head_of_kind(kind, entries, where)


def head_of_kind(kind: type[HeadConfig], entries: dict, where: str) -> HeadConfig:
    """The head of this kind, with the labels and the dropout that a `config.json` names."""
    if kind is SpanHeadConfig:
        return SpanHeadConfig(dropout=0.0)  # it has none there
    labels, problem = labels_from_hf(entries, where), entries.get("problem_type")
    several = kind is TokenHeadConfig and problem not in (None, ONE_CLASS)
    if several or problem not in (None, ONE_CLASS, SEVERAL, NUMBER) or (problem == NUMBER and len(labels) > 1):
        raise InputError(f"{where}: problem_type {problem!r} with {len(labels)} labels is not implemented.")
    problem = problem or (NUMBER if len(labels) == 1 and kind is TextHeadConfig else ONE_CLASS)  # as in `transformers`
    given = [entries[key] for key in ("classifier_dropout", DROPOUT_KEY) if entries.get(key) is not None]
    dropout: Any = given[0] if given else DROPOUT
    more = {"pooling": "cls", "problem_type": problem} if kind is TextHeadConfig else {}
    try:
        return kind(labels, dropout, **more)
    except TypeError as error:
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None


def labels_from_hf(entries: dict, where: str) -> tuple[str, ...]:
    """The labels in the order of the logits: from id2label, else from label2id, else LABEL_0, LABEL_1 …, num_labels of them.

    Raises InputError for labels with a gap, and for two labels of one name, which no figure could tell apart.
    """
    names, numbers, count = (entries.get(key) for key in ("id2label", "label2id", "num_labels"))
    try:
        if names is not None:
            named = {int(i): str(name) for i, name in names.items()}
        elif count is None and numbers:
            named = {int(i): str(name) for name, i in numbers.items()}
        else:
            named = {i: f"LABEL_{i}" for i in range(2 if count is None else count)}
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{where} does not describe a classifier: {error!r}.") from None
    if gaps := sorted(set(range(len(named))) - named.keys()):
        raise InputError(
            f"{where} does not describe a classifier: of its {len(named)} labels, number {gaps[0]} is missing."
        )
    labels = tuple(named[i] for i in range(len(named)))
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise InputError(f"{where} does not describe a classifier: two labels have the name {twice[0]!r}.")
    return labels


def guessed_kind(
    entries: dict, header: dict[str, Tensor], found: dict[str, Tensor], layout: Layout
) -> type[HeadConfig] | None:
    """What a classifier labels if `architectures` is missing or names the encoder alone: texts need a pooler, tokens have none.

    `header` holds the tensors of the file, `found` the same under today's names. None if there is no classifier. (In 2019 tokens
    had a pooler, too; their labels B-… and I-… tell them from texts.)
    """
    names = entries.get("architectures") or ["BertModel"]
    if names[0] != "BertModel" or not {"classifier.weight", "classifier.bias"} <= found.keys():
        return None
    if "classifier.weight" not in header and f"{SPAN_HEAD}weight" in header:
        return SpanHeadConfig
    labels = [str(name) for name in dict(entries.get("id2label") or {}).values()]
    tags = any(label[:2] in ("B-", "I-") for label in labels)
    return TextHeadConfig if f"{layout.heads[0]}dense.weight" in found and not tags else TokenHeadConfig


def described(kind: type[HeadConfig]) -> str:
    """What a head of this kind labels, in words."""
    words = {TokenHeadConfig: "every token", SpanHeadConfig: "where an answer begins and ends"}
    return words.get(kind, "a text as a whole")


def is_span(model: nn.Module) -> bool:
    """Whether a model finds answers in texts."""
    return isinstance(getattr(model, "head_config", None), SpanHeadConfig)

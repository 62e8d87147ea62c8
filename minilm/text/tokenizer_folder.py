"""Open the tokenizer of a published folder so that it cuts text into the same pieces as `transformers` does.

    vocab.txt                  the tokens, one per line (GPT-2: vocab.json and merges.txt)
    tokenizer.json             everything, in the format of the `tokenizers` library; it goes before vocab.txt
    tokenizer_config.json      the class and its settings; for BERT's class they go before those of tokenizer.json
    special_tokens_map.json, added_tokens.json      names of special tokens and further tokens, in older folders

BERT's own class builds its tokenizer from the vocabulary and the settings of tokenizer_config.json, whatever tokenizer.json
says. The general class, PreTrainedTokenizerFast, takes tokenizer.json as it is; minilm writes its folders for that one. What
the fourth and the fifth version of `transformers` read differently, or read by another class, is refused.
"""

import json
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, normalizers, pre_tokenizers

from minilm.errors import InputError
from minilm.text.causal_tokenizer import GPT2, is_causal, open_causal
from minilm.text.library_errors import panics_as_errors
from minilm.text.tokenizer import Tokenizer
from minilm.text.vocabulary import NAMES, with_bert_template, wordpiece_backend

GENERAL = ("PreTrainedTokenizerFast", "TokenizersBackend")
BERT = "BertTokenizer"
SAME = (
    "BertTokenizer",
    "ElectraTokenizer",
    "SqueezeBertTokenizer",
    "LayoutLMTokenizer",
    "MobileBertTokenizer",
    "LxmertTokenizer",
)
ALIKE = ("DistilBertTokenizer", "ConvBertTokenizer")  # of these, one version reads tokenizer.json as it is
SETTINGS = {  # in tokenizer_config.json: the name in the normaliser, and the default
    "do_lower_case": ("lowercase", True),
    "strip_accents": ("strip_accents", None),
    "tokenize_chinese_chars": ("handle_chinese_chars", True),
}
ENDS = {"bos_token": None, "eos_token": None}  # further names of special tokens that BERT does not use
AS_IN_BERT = {"type": "WordPiece", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
FLAGS = ("lstrip", "rstrip", "single_word", "normalized", "special")


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of `path`, a `vocab.txt` or a `tokenizer.json`, with the settings that lie beside it.

    Raises InputError for a file that cannot be read, a class that is not BERT's, and a setting that minilm does not follow.
    """
    text = path.read_text(encoding="utf-8")
    beside = path.name in ("vocab.txt", "vocab.json", "tokenizer.json")
    settings, model = (json_beside(path, name) if beside else None for name in ("tokenizer_config.json", "config.json"))
    kind = class_of(settings or {}, model or {}, path)
    try:
        if is_causal(kind, settings or {}):
            file = None if path.name == "vocab.json" else parsed(text, path)
            return open_causal(kind, settings or {}, path, file, backend_from(text, path) if file else None)
        if path.suffix == ".txt":
            if kind in GENERAL:
                raise InputError(f"the tokenizer_class {kind} needs a tokenizer.json, and there is none.")
            return bert_tokenizer(vocabulary_in(path), settings or {}, path)
        if settings is None and model is None:
            return Tokenizer.from_json(text, str(path))
        backend = backend_from(text, path)
        if kind in GENERAL:
            return general_tokenizer(backend, settings or {}, path, parsed(text, path))
        file = parsed(text, path)
        refuse_unlike_bert(file, settings or {}, path, kind)
        return bert_tokenizer(file["model"]["vocab"], settings or {}, path, file, backend)
    except InputError as error:
        raise InputError(str(error) if str(path.parent) in str(error) else f"{path}: {error}") from None


def backend_from(text: str, path: Path) -> tokenizers.Tokenizer:
    try:
        with panics_as_errors():
            return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises a bare Exception for a file it cannot read
        raise InputError(f"{path} is not a readable tokenizer: {error}.") from None


def class_of(settings: dict[str, Any], model: dict[str, Any], path: Path) -> str:
    """The tokenizer class that the folder asks for, without "Fast" if it is BERT's. Raises InputError for any other."""
    where = "tokenizer_config.json" if settings.get("tokenizer_class") else "config.json"
    usual = GPT2 if model.get("model_type") == "gpt2" else BERT
    name = settings.get("tokenizer_class") or model.get("tokenizer_class") or usual
    plain = str(name).removesuffix("Fast")
    for key in ("auto_map", "fast_tokenizer_files"):
        if settings.get(key):
            raise InputError(
                f"{path.parent}: tokenizer_config.json has {key} {settings[key]!r}, which minilm does not read."
            )
    if name in GENERAL:
        return name
    if plain not in (*SAME, *ALIKE, GPT2):
        raise InputError(
            f"{path.parent}: {where} says tokenizer_class {name!r}; minilm reads those of BERT ({BERT}) and GPT-2 ({GPT2}) and "
            f"files of the tokenizers library ({GENERAL[0]})."
        )
    return plain


def vocabulary_in(path: Path) -> dict[str, int]:
    """The tokens of a `vocab.txt`; the id of a token is its line, from 0. Spaces at the end of a line do not count.

    As in the `tokenizers` library, an empty line is an empty token, and of a token that is listed twice the last line counts.
    """
    with open(path, encoding="utf-8", newline="") as file:
        lines = file.read().removesuffix("\n").split("\n")
    return {line.rstrip(): i for i, line in enumerate(lines)}


def bert_tokenizer(
    vocabulary: dict[str, int],
    settings: dict[str, Any],
    path: Path,
    file: dict[str, Any] | None = None,
    opened: tokenizers.Tokenizer | None = None,
) -> Tokenizer:
    """BERT's tokenizer, built from its vocabulary and its settings, and what is needed of a tokenizer.json (`file`, `opened`)."""
    options: dict[str, Any] = {}
    for key, (name, default) in SETTINGS.items():
        options[name] = value = settings.get(key, default)
        if not isinstance(value, bool) and not (value is None and key == "strip_accents"):
            raise InputError(f"{path.parent}: tokenizer_config.json has {key} {value!r}; it must be true or false.")
    normalizer = normalizers.BertNormalizer(clean_text=True, **options)
    tokens = SpecialTokens(settings, path, file)
    backend = wordpiece_backend(
        vocabulary, normalizer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(), tokens.names["unk_token"]
    )
    tokens.add_to(backend)
    with_bert_template(backend, tokens.names)
    if opened is not None:
        backend.post_processor = opened.post_processor
    return Tokenizer(backend, tokens.names)


def general_tokenizer(
    backend: tokenizers.Tokenizer, settings: dict[str, Any], path: Path, file: dict[str, Any]
) -> Tokenizer:
    """The tokenizer of a tokenizer.json as it stands, with the special tokens that tokenizer_config.json names."""
    tokens = SpecialTokens(settings, path, file)
    unknown = getattr(backend.model, "unk_token", None)
    if unknown is not None and unknown != tokens.names["unk_token"]:
        raise InputError(
            f"{path.parent}: tokenizer_config.json has unk_token {tokens.names['unk_token']!r}, and tokenizer.json {unknown!r}."
        )
    tokens.add_to(backend)
    return Tokenizer(backend, tokens.names)


class SpecialTokens:
    """The names of the special tokens, and all tokens that are added to the vocabulary, as `transformers` collects them."""

    def __init__(self, settings: dict[str, Any], path: Path, file: dict[str, Any] | None):
        self.path = path
        added = (file or {}).get("added_tokens") or []
        declared = settings.get("added_tokens_decoder")
        if not isinstance(declared, dict | None):
            raise InputError(f"{path.parent} has added_tokens_decoder {declared!r}; it must be ids with their tokens.")
        self.added = self.numbered("added_tokens_decoder", list((declared or {}).items()))
        of_file = [(entry["id"], self.token({k: v for k, v in entry.items() if k != "id"})) for entry in added]
        if declared is None:
            older = json_beside(path, "special_tokens_map.json") or {}
            for key in ("additional_special_tokens", "extra_special_tokens"):
                if older.get(key):  # the versions differ on what becomes of them
                    raise InputError(
                        f"{path.parent}: special_tokens_map.json has {key} {older[key]!r}; if they are special tokens, write "
                        "them into tokenizer_config.json as extra_special_tokens."
                    )
            settings = settings | older
        for key, value in settings.items():
            if key.endswith("_token") and key not in NAMES and key not in ENDS and isinstance(value, str | dict):
                raise InputError(f"{path.parent} has {key} {value!r}, which minilm does not read.")
        self.further = self.further_tokens(settings)
        self.named = {key: settings.get(key, default) for key, default in (NAMES | ENDS).items()}
        self.names = {key: self.name(self.named[key], key) for key in NAMES}
        if declared is None:
            self.added = [*self.listed(), *of_file]
        elif of_file and {(i, *state(t)) for i, t in of_file} != {(i, *state(t)) for i, t in self.added}:
            raise InputError(
                f"{path.parent}: tokenizer.json and tokenizer_config.json do not have the same added tokens."
            )

    def numbered(self, key: str, entries: list[tuple[Any, Any]]) -> list[tuple[int, AddedToken]]:
        """(id, token) for each (id, entry of a file)."""
        try:
            return [(int(i), self.token(entry)) for i, entry in entries]
        except (ValueError, TypeError, OverflowError):
            raise InputError(f"{self.path.parent} has {key} {entries[0]!r}; ids must be whole numbers.") from None

    def token(self, entry: Any) -> AddedToken:
        """An added token from its entry in a file: {"content": …, "lstrip": …}."""
        try:
            return AddedToken(**{key: value for key, value in entry.items() if key != "__type"})
        except (TypeError, AttributeError, ValueError):
            raise InputError(f"{self.path.parent}: the added token {entry!r} cannot be read.") from None

    def name(self, value: Any, key: str) -> str:
        content = value.get("content") if isinstance(value, dict) else value
        if not isinstance(content, str) or not content:
            raise InputError(f"{self.path.parent} has {key} {value!r}; it must be a text.")
        return content

    def further_tokens(self, settings: dict[str, Any]) -> list[Any]:
        """Special tokens without a role; the older name of the key is read where the newer one has none."""
        further = settings.get("extra_special_tokens") or settings.get("additional_special_tokens") or []
        if not isinstance(further, list):
            raise InputError(f"{self.path.parent} has extra_special_tokens {further!r}; it must be a list.")
        return further

    def listed(self) -> list[tuple[int, AddedToken]]:
        """The tokens of an added_tokens.json: special ones if they are named as such, else words of the language."""
        special = {self.name(value, key) for key, value in self.named.items() if value is not None}
        special |= {self.name(value, "extra_special_tokens") for value in self.further}
        entries = json_beside(self.path, "added_tokens.json") or {}
        flags = [
            (i, {"content": t, "normalized": t not in special, "special": t in special}) for t, i in entries.items()
        ]
        return self.numbered("added_tokens.json", flags)

    def add_to(self, backend: tokenizers.Tokenizer) -> None:
        """Add all tokens in the order of `transformers`. Raises InputError for a token that is missing or has another id."""
        vocabulary = backend.get_vocab()
        where = self.path if self.path.suffix == ".txt" else self.path.parent
        if missing := [name for name in self.names.values() if name not in vocabulary]:
            raise InputError(f"{where} has no {', '.join(missing)}: it is not a BERT vocabulary.")
        there = {state(token) for token in backend.get_added_tokens_decoder().values()}
        tokens = [token for _, token in sorted(self.added, key=lambda item: item[0]) if state(token) not in there]
        known = {content for content, *_ in there} | {token.content for token in tokens}
        for value in [*self.named.values(), *self.further]:
            if value is not None and (content := self.name(value, "a special token")) not in known:
                token = self.token(value) if isinstance(value, dict) else AddedToken(content, special=True)
                tokens.append(token)
                known.add(content)
        roles = {self.name(value, key) for key, value in self.named.items() if value is not None}
        for token in tokens:
            token.special = token.special or token.content in roles
        backend.add_tokens(tokens)
        vocabulary = backend.get_vocab()
        for i, token in self.added:
            if vocabulary.get(token.content) != i:
                raise InputError(
                    f"{where}: the added token {token.content!r} should have id {i} and gets {vocabulary.get(token.content)}."
                )
        if len(set(vocabulary.values())) < len(vocabulary):
            raise InputError(f"{where}: an added token gets an id that another token has already.")


def state(token: AddedToken) -> tuple[Any, ...]:
    return (token.content, *(getattr(token, flag) for flag in FLAGS))


def refuse_unlike_bert(file: dict[str, Any], settings: dict[str, Any], path: Path, kind: str) -> None:
    """Raise InputError for a tokenizer.json that BERT's class reads differently from what the file says."""
    model, normalizer = file.get("model") or {}, file.get("normalizer") or {}
    wrong: list[tuple[str, Any, Any]] = [
        (f"model {key}", model.get(key), value) for key, value in AS_IN_BERT.items() if model.get(key, value) != value
    ]
    for key in ("pre_tokenizer", "normalizer"):
        if (found := (file.get(key) or {}).get("type")) != (wanted := f"Bert{key.title().replace('_', '')}"):
            wrong.append((key, found, wanted))
    if not normalizer.get("clean_text", True):
        wrong.append(("normalizer clean_text", False, True))
    if kind in ALIKE:
        for name, (key, default) in SETTINGS.items():
            if normalizer.get(key) != settings.get(name, default):
                wrong.append((f"normalizer {key}", normalizer.get(key), settings.get(name, default)))
    if wrong:
        key, found, wanted = wrong[0]
        raise InputError(
            f"{path} has {key} {found!r}, but the class {kind} reads {wanted!r}: if the file is right, write "
            f'"tokenizer_class": "{GENERAL[0]}" into tokenizer_config.json.'
        )


def json_beside(path: Path, name: str) -> dict[str, Any] | None:
    """The settings in the file `name` beside `path`, or None if there is no such file."""
    file = path.with_name(name)
    if not file.exists():
        return None
    return parsed(file.read_text(encoding="utf-8"), file)


def parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path} cannot be read: {why}.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path} cannot be read: it must be an object with keys, not {text[:20]!r}.")
    return found

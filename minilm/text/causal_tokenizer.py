"""Tokenizers of models that write: a text begins with one token and ends with one, and a prompt is left open.

GPT-2's tokenizer is byte-level BPE: its smallest tokens are the 256 bytes, so that every text has tokens and comes back
exactly. "<|endoftext|>" begins and ends a text there. The tokenizers that minilm learns have [CLS] and [SEP] for it.

Source:  Radford et al. (2019), Language Models are Unsupervised Multitask Learners, §2.2.
"""

from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors, trainers

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.files import refuse_half_characters
from minilm.text.library_errors import panics_as_errors
from minilm.text.tokenizer import Tokenizer, bert_normalizer
from minilm.text.vocabulary import SPECIAL_TOKENS, room_for_pieces, with_bert_template

GPT2, END_OF_TEXT = "GPT2Tokenizer", "<|endoftext|>"
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
# what our own special tokens become in a model that writes
OURS = dict(zip(ROLES, ("[CLS]", "[SEP]", "[PAD]", "[UNK]"), strict=True))


class CausalTokenizer(Tokenizer):
    """A tokenizer that knows where a text begins and ends, and that continues prompts.

    `names` are those of `ROLES`; padding and unknown tokens may have none. Raises InputError if the vocabulary lacks one of
    them, or if the tokenizer puts anything but the token that begins a text around it.
    """

    def __init__(self, backend: tokenizers.Tokenizer, names: dict[str, str]):
        vocabulary = backend.get_vocab()
        if missing := [names.get(role) or role for role in ROLES[:2] if names.get(role) not in vocabulary]:
            raise InputError(f"the tokenizer has no {', '.join(missing)}: a model that writes needs them.")
        self.names = {role: name for role, name in names.items() if name in vocabulary}
        self.backend = backend
        self.backend.no_padding()
        self.backend.no_truncation()
        self.backend.encode_special_tokens = True  # as text
        self.cls, self.sep = vocabulary[names["bos_token"]], vocabulary[names["eos_token"]]
        self.pad, self.unknown = (vocabulary.get(self.names.get(role, ""), self.sep) for role in ROLES[2:])
        self.mask = -1  # there is none
        self.special_ids = sorted({self.pad, self.unknown, self.cls, self.sep})
        self.size = max(vocabulary.values()) + 1
        leaks = backend.encode_batch_fast(list(self.names.values()), add_special_tokens=False)
        self._leaking = {i for row in leaks for i in row.ids} & {*self.special_ids} - {self.unknown}
        framed, bare = (self.backend.encode("a", add_special_tokens=add).ids for add in (True, False))
        if framed not in (bare, [self.cls, *bare]):
            tokens = ", ".join(self.tokens(framed))
            raise InputError(f"the tokenizer frames a text as {tokens}; a prompt must end where its text ends.")
        self.begins = framed != bare

    def __reduce__(self):  # a copy of the backend would read special tokens again
        return CausalTokenizer._restored, (self.to_json(), self.names)

    @classmethod
    def _restored(cls, text: str, names: dict[str, str]) -> "CausalTokenizer":
        return cls(tokenizers.Tokenizer.from_str(text), names)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "CausalTokenizer":
        """A tokenizer with BERT's special tokens as that of a model that writes: [CLS] begins a text, and [SEP] ends it."""
        if isinstance(tokenizer, CausalTokenizer):
            return tokenizer
        backend = tokenizers.Tokenizer.from_str(tokenizer.to_json())
        begin, end = tokenizer.names["cls_token"], tokenizer.names["sep_token"]
        template: Any = dict(single=[begin, "$A"], pair=[begin, "$A", "$B"])
        backend.post_processor = processors.TemplateProcessing(**template, special_tokens=[(begin, tokenizer.cls)])
        others = {role: tokenizer.names[role] for role in ROLES[2:]}
        return cls(backend, {"bos_token": begin, "eos_token": end} | others)

    def prompt(self, text: str) -> list[int]:
        """The ids that a model continues. As in GPT-2, nothing stands before a text, if the tokenizer says so."""
        ids = self.ids([text])[0]
        return [self.cls, *ids] if self.begins or not ids else ids

    def save(self, folder: Path) -> None:
        raise InputError("the tokenizer of a model that writes is saved together with its model: use save_model.")


def is_causal(kind: str, settings: dict[str, Any]) -> bool:
    """Whether a folder's tokenizer belongs to a model that writes: GPT-2's class, or names for both ends and none for [CLS]."""
    named = all(settings.get(role) for role in ROLES[:2])
    return kind == GPT2 or (named and not any(settings.get(role) for role in ("cls_token", "sep_token")))


def open_causal(
    kind: str, settings: dict[str, Any], path: Path, file: dict[str, Any] | None, backend: tokenizers.Tokenizer | None
) -> CausalTokenizer:
    """The tokenizer of a folder, from a tokenizer.json (`file`, opened as `backend`) or GPT-2's vocab.json and merges.txt.

    GPT-2's class takes the vocabulary and the merges from the file, and everything else from tokenizer_config.json. Raises
    InputError for a file that it would read differently from what the file says.
    """
    names = {
        role: name_of(settings.get(role, END_OF_TEXT if kind == GPT2 and role != "pad_token" else None), path)
        for role in ROLES
    }
    given = {role: name for role, name in names.items() if name}
    if kind != GPT2 and backend is not None:
        return CausalTokenizer(backend, given)
    if settings.get("add_bos_token"):  # the versions of `transformers` differ on it, and so do the files
        raise InputError(f"{path.parent}: add_bos_token is not implemented for the class {GPT2}: set it to false.")
    if backend is None:
        backend = from_vocabulary(path)
    elif (file or {}).get("normalizer") or ((file or {}).get("pre_tokenizer") or {}).get("type") != "ByteLevel":
        raise InputError(f"{path} is not byte-level BPE as the class {GPT2} builds it, without a normaliser.")
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=bool(settings.get("add_prefix_space", False)))
    backend.decoder = decoders.ByteLevel()
    declared = settings.get("added_tokens_decoder") or {}
    try:
        added = [entry for _, entry in sorted(declared.items(), key=lambda item: int(item[0]))]
    except (AttributeError, ValueError):
        raise InputError(
            f"{path.parent} has added_tokens_decoder {declared!r:.60}; it must be ids with their tokens."
        ) from None
    further = [name_of(entry, path) for entry in added] + list(given.values())
    backend.add_special_tokens([AddedToken(name, special=True) for name in dict.fromkeys(further) if name])
    return CausalTokenizer(backend, given)


def name_of(entry: Any, path: Path) -> str | None:
    """The name of a special token, which may stand in a file with its settings; None if it has none. Raises InputError."""
    name = entry.get("content") if isinstance(entry, dict) else entry
    if name and not isinstance(name, str):
        raise InputError(f"{path.parent} has the special token {entry!r:.60}; it must be a text.")
    refuse_half_characters(name or "", f"{path.parent}: the special token {name!r:.60}")
    return name or None


def from_vocabulary(path: Path) -> tokenizers.Tokenizer:
    """BPE from GPT-2's two files: vocab.json (each token with its id) and merges.txt (one merge per line)."""
    merges = path.with_name("merges.txt")
    if not merges.exists():
        raise InputError(f"{path.parent} has a vocab.json and no merges.txt: GPT-2's tokenizer needs both.")
    try:
        with panics_as_errors():
            return tokenizers.Tokenizer(models.BPE.from_file(str(path), str(merges)))
    except Exception as error:  # the library raises a bare Exception for a file it cannot read
        raise InputError(f"{path} and {merges.name} are not a readable tokenizer: {error}.") from None


def train_bytes(
    files: list[Path],
    vocab_size: int = 8192,
    lowercase: bool = False,
    strip_accents: bool | None = None,
    note: Note = unheard,
) -> Tokenizer:
    """Learn byte-level BPE from text files: at most `vocab_size` tokens, the 256 bytes among them.

    Every text has tokens and comes back exactly, spaces included; a word and the space before it are one token. With
    `lowercase` (or `strip_accents`), what comes back is the text in small letters. Raises InputError if `vocab_size` leaves
    no room for the bytes.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if room_for_pieces(vocab_size) < len(alphabet):
        least = len(SPECIAL_TOKENS) + len(alphabet)
        raise InputError(f"a vocabulary of {vocab_size} is too small for bytes: give at least {least}.")
    backend = tokenizers.Tokenizer(models.BPE())
    if lowercase or strip_accents:
        backend.normalizer = bert_normalizer(lowercase, strip_accents)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    backend.train([str(file) for file in files], trainer)
    if (size := backend.get_vocab_size()) < vocab_size:
        note(f"the vocabulary has {size:,} tokens, not the {vocab_size:,} asked for: the text gives no more pieces.")
    return Tokenizer(with_bert_template(backend))

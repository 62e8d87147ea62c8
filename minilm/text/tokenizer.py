r"""Split text into tokens (words or pieces of words), and turn tokens into ids.

The `tokenizers` library does the splitting. This file makes the choices: BERT's normaliser, BERT's five special tokens
in BERT's order and places ([CLS] A [SEP] B [SEP]), and one token per Chinese character. The notebook on text works
through WordPiece by hand.

Source:  Devlin et al. (2019), BERT, §3; Schuster and Nakajima (2012), Japanese and Korean Voice Search (WordPiece).
"""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, normalizers, pre_tokenizers

from minilm.errors import InputError
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Note, unheard
from minilm.text.library_errors import panics_as_errors, whole_characters
from minilm.text.vocabulary import (
    NAMES,
    SPECIAL_TOKENS,
    commonest_characters,
    first_characters,
    fitting,
    learn_pieces,
    lines_of,
    long_words,
    room_for_pieces,
    say_what_differs,
    with_bert_template,
    wordpiece_backend,
)


class Tokenizer:
    """A `tokenizers.Tokenizer` that knows BERT's special tokens and raises errors that say what to do.

    What a text says is always plain text: if somebody writes [SEP] or [PAD], it is split like any other word, and never
    becomes the special token. Only `ids(…, special=True)` reads special tokens, for filling in a [MASK].
    """

    def __init__(self, backend: tokenizers.Tokenizer, names: dict[str, str] = NAMES):
        vocabulary = backend.get_vocab()
        missing = [token for token in names.values() if token not in vocabulary]
        if missing:
            raise InputError(f"the tokenizer has no {', '.join(missing)}: it is not a BERT tokenizer.")
        self.names = dict(names)
        self.backend = backend
        self.backend.no_padding()
        self.backend.no_truncation()
        self.backend.encode_special_tokens = True  # as text
        self.special_ids = [vocabulary[token] for token in names.values()]
        self.pad, self.unknown, self.cls, self.sep, self.mask = self.special_ids
        self.size = max(vocabulary.values()) + 1
        """The rows that an embedding table needs: the largest id and one more. Ids between may be without a token."""
        try:
            with panics_as_errors():
                self._refuse_another_frame()
        except RuntimeError as error:
            raise InputError(f"the tokenizer's post_processor does not fit its vocabulary ({error}).") from None
        # where the vocabulary itself spells out a special token as a word, that word is unknown
        leaks = backend.encode_batch_fast(list(names.values()), add_special_tokens=False)
        self._leaking = {i for row in leaks for i in row.ids} & {self.pad, self.cls, self.sep, self.mask}

    def _refuse_another_frame(self) -> None:
        """Raise InputError if other programs that open the file would not make the rows that `pair` makes."""
        a, b = (self.backend.encode(text, add_special_tokens=False).ids for text in "ab")
        for encoding, row in (self.backend.encode("a"), self.pair(a)), (self.backend.encode("a", "b"), self.pair(a, b)):
            if (encoding.ids, encoding.type_ids) != row:
                tokens = ", ".join(self.tokens(encoding.ids))
                raise InputError(f"the tokenizer's post_processor does not frame a text as BERT does, but as {tokens}.")

    def __reduce__(self):  # a copy of the backend would read special tokens again
        return Tokenizer._restored, (self.to_json(), self.names)

    @classmethod
    def _restored(cls, text: str, names: dict[str, str]) -> "Tokenizer":
        return cls(tokenizers.Tokenizer.from_str(text), names)

    @cached_property
    def _reading_special(self) -> tokenizers.Tokenizer:
        """A second backend, because changing the first one for a moment would change it for other threads as well."""
        return tokenizers.Tokenizer.from_str(self.backend.to_str())

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens as they are written, in the order of `special_ids`."""
        return list(self.names.values())

    def normalise(self, text: str) -> str:
        """The text as it is before it is split: what becomes of capitals, accents and control characters."""
        return self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text

    def unknown_parts(self, text: str) -> list[str]:
        """The parts of the text that have no token and become [UNK], in their order."""
        encoding = self.backend.encode(text, add_special_tokens=False)
        return [
            text[a:b] for i, (a, b) in zip(encoding.ids, encoding.offsets) if i == self.unknown or i in self._leaking
        ]

    def ids(self, texts: list[str], special: bool = False) -> list[list[int]]:
        """The token ids of each text, without special tokens around it.

        A special token that is written in a text is plain text, unless `special`: then [MASK] is the mask.
        """
        backend = self._reading_special if special else self.backend
        with whole_characters(texts):
            rows = [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]
        return rows if special else self._as_text(rows)

    def _as_text(self, rows: list[list[int]]) -> list[list[int]]:
        if not self._leaking:
            return rows
        return [[self.unknown if i in self._leaking else i for i in row] for row in rows]

    def pieces_of_words(self, lines: list[list[str]]) -> list[list[list[int]]]:
        """The ids of all pieces of each word of each line. A word without any piece (a control character) is unknown."""
        with whole_characters(word for line in lines for word in line):
            encodings = self.backend.encode_batch(lines, is_pretokenized=True, add_special_tokens=False)
        out: list[list[list[int]]] = [[[] for _ in line] for line in lines]
        for words, encoding, ids in zip(out, encodings, self._as_text([e.ids for e in encodings]), strict=True):
            for piece, word in zip(ids, encoding.word_ids, strict=True):
                if word is not None:
                    words[word].append(piece)
        return [[pieces or [self.unknown] for pieces in words] for words in out]

    def words_of(self, text: str) -> list[tuple[int, int]]:
        """The offsets (start, end) of the tokenizer's own words, before it cuts them into pieces."""
        with whole_characters([text]):
            encoding = self.backend.encode(text, add_special_tokens=False)
        spans: dict[int | None, tuple[int, int]] = {}
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            spans[word] = (spans.get(word, (start, end))[0], end)
        return [span for word, span in spans.items() if word is not None]

    def pair(self, a: list[int], b: list[int] | None = None) -> tuple[list[int], list[int]]:
        """The ids of [CLS] A [SEP] (B [SEP]), and the token type of each position: 0 up to the first [SEP], then 1."""
        ids = [self.cls, *a, self.sep]
        token_type_ids = [0] * len(ids)
        if b is not None:
            ids += [*b, self.sep]
            token_type_ids += [1] * (len(b) + 1)
        return ids, token_type_ids

    @property
    def begin(self) -> int:
        """The token that begins a text."""
        return self.cls

    @property
    def end(self) -> int:
        """The token that ends a text."""
        return self.sep

    def prompt(self, text: str) -> list[int]:
        """The ids that a model continues: the text with the token that begins it, and without the one that ends it."""
        return [self.begin, *self.ids([text])[0]]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self.backend.id_to_token(int(i)) or "" for i in ids]

    def text(self, ids: Iterable[int]) -> str:
        return self.backend.decode([int(i) for i in ids])

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, and beside it the names of the special tokens if they are not BERT's."""
        write_text(folder / "tokenizer.json", self.to_json())
        if self.names != NAMES:
            write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | self.names)

    def to_json(self) -> str:
        return self.backend.to_str(pretty=True)

    @classmethod
    def from_json(cls, text: str, where: str = "the tokenizer") -> "Tokenizer":
        """The tokenizer of a `tokenizer.json` alone. If the file does not say how texts are framed, BERT's way is added.

        Raises InputError for a file that cannot be read, and for one that frames texts differently from BERT.
        """
        try:
            with panics_as_errors():
                backend = tokenizers.Tokenizer.from_str(text)
            if backend.post_processor is None and all(map(backend.token_to_id, ("[CLS]", "[SEP]"))):
                with_bert_template(backend)
            return cls(backend)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        except Exception as error:  # the library raises a bare Exception for a file it cannot read
            raise InputError(f"{where} is not a readable tokenizer: {error}.") from None

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Load a `tokenizer.json` or a `vocab.txt`, or a folder with one of them (or GPT-2's files), as `transformers` reads it.

        Settings beside the file count as well. Raises InputError (see `open_tokenizer`).
        """
        from minilm.text.tokenizer_folder import open_tokenizer  # which imports this module

        path = Path(path)
        if path.is_dir():
            kinds = ("tokenizer.json", "vocab.txt", "vocab.json")
            path = path / next((name for name in kinds if (path / name).exists()), kinds[0])
        try:
            return open_tokenizer(path)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no tokenizer at {path}.") from None
        except UnicodeDecodeError:
            raise InputError(f"{path} is not a readable tokenizer: it is not UTF-8.") from None


def bert_normalizer(lowercase: bool, strip_accents: bool | None = None) -> normalizers.Normalizer:
    """BERT's normaliser. `strip_accents` None means what it means in BERT: as `lowercase` says."""
    strip = lowercase if strip_accents is None else strip_accents
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip, lowercase=lowercase
    )


def train_wordpiece(
    files: list[Path],
    vocab_size: int = 8192,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    note: Note = unheard,
) -> Tokenizer:
    """Learn WordPiece from text files: at most `vocab_size` pieces, with "##" before pieces that continue a word.

    A character without a piece makes its whole word [UNK]. So the characters that make up 99.99 % of the text come first,
    each alone and, where it can continue a word, with "##". Rarer characters enter as long as characters fill at most half
    of the vocabulary, or if there are no longer pieces left to fill it. `strip_accents` None: as `lowercase` says.

    The library numbers the one-character pieces in the random order of a hash table and uses these numbers to break ties
    between longer pieces, so the same text gives a different vocabulary in every run (huggingface/tokenizers #1794). We
    fix the numbers by listing those pieces among the trainer's special tokens.

    A word of more than 100 characters becomes [UNK] in any case, so nothing is learned from it, and `note` hears of it.

    Raises InputError if `vocab_size` leaves no room beside the special tokens.
    """
    room = room_for_pieces(vocab_size)
    normalizer, pre_tokenizer = bert_normalizer(lowercase, strip_accents), pre_tokenizers.BertPreTokenizer()
    without = long_words(files, normalizer, pre_tokenizer, note)
    counts = commonest_characters(lines_of(files, without), normalizer)
    pieces = {
        c: [c, f"##{c}"] if len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{c}"))) == 1 else [c]
        for c in counts
    }
    alphabet = first_characters(counts, pieces, room)
    vocabulary = learn_pieces(files, without, vocab_size, pieces, alphabet, normalizer, pre_tokenizer)
    if more := fitting([c for c in counts if c not in alphabet], pieces, vocab_size - len(vocabulary)):
        alphabet += more
        vocabulary = learn_pieces(files, without, vocab_size, pieces, alphabet, normalizer, pre_tokenizer)
    say_what_differs(note, len(vocabulary), vocab_size, counts, set(alphabet))
    return wordpiece(vocabulary, normalizer, pre_tokenizer, decoders.WordPiece())


def train_characters(
    lines: Iterable[str],
    vocab_size: int = 8192,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    note: Note = unheard,
) -> Tokenizer:
    """One token per character, for Chinese: the `vocab_size` − 5 most frequent ones; all others become [UNK].

    `strip_accents` None: as `lowercase` says. Raises InputError if `vocab_size` leaves no room beside the special tokens.
    """
    room = room_for_pieces(vocab_size)
    normalizer = bert_normalizer(lowercase, strip_accents)
    counts = commonest_characters(lines, normalizer)
    characters = list(counts)[:room]
    vocabulary = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *characters])}
    say_what_differs(note, len(vocabulary), vocab_size, counts, set(characters))
    one_by_one = pre_tokenizers.Split(Regex("."), "isolated")
    pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), one_by_one])
    return wordpiece(vocabulary, normalizer, pre_tokenizer, decoders.Fuse())


def wordpiece(vocabulary: dict[str, int], normalizer, pre_tokenizer, decoder) -> Tokenizer:
    backend = wordpiece_backend(vocabulary, normalizer, pre_tokenizer, decoder)
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(with_bert_template(backend))


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """All tokens, in the order of their ids."""
    vocabulary = json.loads(tokenizer.backend.to_str())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.get)

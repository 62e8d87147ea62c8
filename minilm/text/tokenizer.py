r"""Split text into tokens (words or pieces of words), and turn tokens into ids.

The `tokenizers` library does the splitting. This file makes the choices: BERT's normaliser, BERT's five special tokens
in BERT's order and places ([CLS] A [SEP] B [SEP]), and one token per Chinese character. The notebook on text works
through WordPiece by hand.

Source:  Devlin et al. (2019), BERT, §3; Schuster and Nakajima (2012), Japanese and Korean Voice Search (WordPiece).
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.alphabet import commonest_characters, first_characters, fitting, lines_of, say_what_differs
from minilm.text.files import refuse_half_characters

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokenizer:
    """A `tokenizers.Tokenizer` that knows BERT's special tokens by name and raises errors that say what to do."""

    def __init__(self, backend: tokenizers.Tokenizer):
        missing = [token for token in SPECIAL_TOKENS if backend.token_to_id(token) is None]
        if missing:
            raise InputError(f"the tokenizer has no {', '.join(missing)}: it is not a BERT tokenizer.")
        self.backend = backend
        self.backend.no_padding()
        self.backend.no_truncation()
        vocabulary = backend.get_vocab()
        self.pad, self.unknown, self.cls, self.sep, self.mask = (vocabulary[token] for token in SPECIAL_TOKENS)

    @property
    def size(self) -> int:
        return self.backend.get_vocab_size()

    @property
    def special_ids(self) -> list[int]:
        return [self.pad, self.unknown, self.cls, self.sep, self.mask]

    @property
    def special_tokens(self) -> list[str]:
        """The special tokens as they are written, in the order of `special_ids`."""
        return list(SPECIAL_TOKENS)

    def normalise(self, text: str) -> str:
        """The text as it is before it is split: what becomes of capitals, accents and control characters."""
        return self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text

    def unknown_parts(self, text: str) -> list[str]:
        """The parts of the text that have no token and become [UNK], in their order."""
        encoding = self.backend.encode(text, add_special_tokens=False)
        return [text[a:b] for i, (a, b) in zip(encoding.ids, encoding.offsets) if i == self.unknown]

    def ids(self, texts: list[str]) -> list[list[int]]:
        """The token ids of each text, without special tokens."""
        with whole_characters(texts):
            return [encoding.ids for encoding in self.backend.encode_batch_fast(texts, add_special_tokens=False)]

    def ids_of_words(self, lines: list[list[str]]) -> list[list[int]]:
        """One id per word of each line, for tagging: a word of several pieces is represented by its first piece."""
        with whole_characters(word for line in lines for word in line):
            encodings = self.backend.encode_batch(lines, is_pretokenized=True, add_special_tokens=False)
        return [first_pieces(encoding, len(line), self.unknown) for encoding, line in zip(encodings, lines)]

    def pieces_of_words(self, lines: list[list[str]]) -> list[list[list[int]]]:
        """The ids of all pieces of each word of each line. A word without any piece (a control character) is unknown."""
        with whole_characters(word for line in lines for word in line):
            encodings = self.backend.encode_batch(lines, is_pretokenized=True, add_special_tokens=False)
        out: list[list[list[int]]] = [[[] for _ in line] for line in lines]
        for words, encoding in zip(out, encodings, strict=True):
            for piece, word in zip(encoding.ids, encoding.word_ids, strict=True):
                if word is not None:
                    words[word].append(piece)
        return [[pieces or [self.unknown] for pieces in words] for words in out]

    def words_of(self, text: str) -> list[tuple[int, int]]:
        """The offsets (start, end) of the words into which the tokenizer itself cuts a text, before it cuts them to pieces."""
        with whole_characters([text]):
            encoding = self.backend.encode(text, add_special_tokens=False)
        spans: dict[int, tuple[int, int]] = {}
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets, strict=True):
            if word is not None:
                first = spans.get(word, (start, end))[0]
                spans[word] = (first, end)
        return list(spans.values())

    def pair(self, a: list[int], b: list[int] | None = None) -> tuple[list[int], list[int]]:
        """The ids of [CLS] A [SEP] (B [SEP]), and the token type of each position: 0 up to the first [SEP], then 1."""
        ids = [self.cls, *a, self.sep]
        token_type_ids = [0] * len(ids)
        if b is not None:
            ids += [*b, self.sep]
            token_type_ids += [1] * (len(b) + 1)
        return ids, token_type_ids

    def tokens(self, ids: Iterable[int]) -> list[str]:
        return [self.backend.id_to_token(int(i)) or "" for i in ids]

    def text(self, ids: Iterable[int]) -> str:
        return self.backend.decode([int(i) for i in ids])

    def to_json(self) -> str:
        return self.backend.to_str(pretty=True)

    @classmethod
    def from_json(cls, text: str, where: str = "the tokenizer") -> "Tokenizer":
        try:
            return cls(tokenizers.Tokenizer.from_str(text))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        except Exception as error:  # the library raises a bare Exception for a file it cannot read
            raise InputError(f"{where} is not a readable tokenizer: {error}.") from None

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Load a `tokenizer.json` or a `vocab.txt`, or a folder that contains one of them. Raises InputError."""
        path = Path(path)
        if path.is_dir():
            older = not (path / "tokenizer.json").exists() and (path / "vocab.txt").exists()
            path = path / ("vocab.txt" if older else "tokenizer.json")
        try:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".txt":
                return from_vocabulary(
                    text.removesuffix("\n").split("\n"), written_in_small_letters(path.parent), str(path)
                )
            return cls.from_json(text, str(path))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"there is no tokenizer at {path}.") from None
        except UnicodeDecodeError:
            raise InputError(f"{path} is not a readable tokenizer: it is not UTF-8.") from None


@contextmanager
def whole_characters(texts: Iterable[str]) -> Iterator[None]:
    """Turn the library's TypeError for text that cannot be encoded as UTF-8 into an InputError that shows the text."""
    try:
        yield
    except TypeError:
        for text in texts:
            refuse_half_characters(text, f"the text {text[:40]!r}")
        raise


def from_vocabulary(tokens: list[str], lowercase: bool, where: str = "vocab.txt") -> Tokenizer:
    """Build BERT's WordPiece tokenizer from its list of tokens; the id of a token is its line number, from 0."""
    vocabulary = {token: i for i, token in enumerate(tokens)}
    if len(vocabulary) < len(tokens):
        raise InputError(f"{where} lists a token twice: {next(t for t, n in Counter(tokens).items() if n > 1)!r}.")
    if missing := [token for token in SPECIAL_TOKENS if token not in vocabulary]:
        raise InputError(f"{where} has no {', '.join(missing)}: it is not a BERT vocabulary.")
    return wordpiece(vocabulary, bert_normalizer(lowercase), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece())


def written_in_small_letters(folder: Path) -> bool:
    """Whether text is lowercased, as the `tokenizer_config.json` next to a `vocab.txt` says; BERT's default is yes."""
    path = folder / "tokenizer_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return bool(settings.get("do_lower_case", True))
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None


def first_pieces(encoding: tokenizers.Encoding, words: int, unknown: int) -> list[int]:
    """The id of the first piece of each word; a word without any piece (a control character) is unknown."""
    ids = [unknown] * words
    for piece, word in zip(reversed(encoding.ids), reversed(encoding.word_ids)):
        if word is not None:
            ids[word] = piece
    return ids


def bert_normalizer(lowercase: bool, strip_accents: bool | None = None) -> normalizers.Normalizer:
    """BERT's normaliser. `strip_accents` None means what it means in BERT: as `lowercase` says."""
    strip = lowercase if strip_accents is None else strip_accents
    return normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip, lowercase=lowercase
    )


def with_bert_template(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """Add BERT's template, so that other programs that open `tokenizer.json` also get [CLS] A [SEP] B [SEP]."""
    special = [(token, backend.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
    )
    return backend


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

    Raises InputError if `vocab_size` leaves no room beside the special tokens.
    """
    room = room_for_pieces(vocab_size)
    normalizer, pre_tokenizer = bert_normalizer(lowercase, strip_accents), pre_tokenizers.BertPreTokenizer()
    counts = commonest_characters(lines_of(files), normalizer)
    pieces = {
        c: [c, f"##{c}"] if len(pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(f"a{c}"))) == 1 else [c]
        for c in counts
    }
    alphabet = first_characters(counts, pieces, room)
    vocabulary = learn_pieces(files, vocab_size, pieces, alphabet, normalizer, pre_tokenizer)
    while more := fitting([c for c in counts if c not in alphabet], pieces, vocab_size - len(vocabulary)):
        alphabet += more
        vocabulary = learn_pieces(files, vocab_size, pieces, alphabet, normalizer, pre_tokenizer)
    say_what_differs(note, len(vocabulary), vocab_size, counts, set(alphabet))
    return wordpiece(vocabulary, normalizer, pre_tokenizer, decoders.WordPiece())


def learn_pieces(files, vocab_size, pieces, alphabet, normalizer, pre_tokenizer) -> dict[str, int]:
    """The vocabulary that the library learns from the files with the characters of `alphabet`, as {piece: id}."""
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *(piece for c in sorted(alphabet) for piece in pieces[c][1:])],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train([str(file) for file in files], trainer)
    return learner.get_vocab()


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


def room_for_pieces(vocab_size: int) -> int:
    """How many pieces fit beside the special tokens. Raises InputError if there is no room for a single one."""
    if vocab_size <= len(SPECIAL_TOKENS):
        least = len(SPECIAL_TOKENS) + 1
        raise InputError(
            f"a vocabulary of {vocab_size} is too small: the special tokens need {least - 1}; give {least}."
        )
    return vocab_size - len(SPECIAL_TOKENS)


def wordpiece(vocabulary: dict[str, int], normalizer, pre_tokenizer, decoder) -> Tokenizer:
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer, backend.pre_tokenizer, backend.decoder = normalizer, pre_tokenizer, decoder
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    return Tokenizer(with_bert_template(backend))


def vocabulary_of(tokenizer: Tokenizer) -> list[str]:
    """All tokens, in the order of their ids."""
    vocabulary = json.loads(tokenizer.backend.to_str())["model"]["vocab"]
    return sorted(vocabulary, key=vocabulary.get)

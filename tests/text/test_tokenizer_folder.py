"""Tokenizers of published folders, against `transformers` (the referee) over generated folders.

Each folder draws its files, its settings and its tokens. The pieces of every text must be those of the referee, or the folder is
refused with a sentence that names the key; a folder without anything foreign must not be refused.
"""

import json
import random
from pathlib import Path

import pytest
import tokenizers
import transformers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors

from minilm.errors import InputError
from minilm.text.tokenizer import SPECIAL_TOKENS, Tokenizer

transformers.logging.set_verbosity_error()

CASES = 320
WORDS = "the house stood by river schon schön cafe café uber über straße é naive e\u0301 ab abc".split()
WORDS += "北 京 上 海 かき かぎ か き ぎ ガ カ".split()
SIGNS = ". , ! ? ' - [ ] < > / # @ 。 ， 😀 1 2 19".split()
LETTERS = [*"abcdefghijklmnopqrstuvwxyzABCHST", *"éöüßçıйкё", "\u0301", "\u0308"]
TEXTS = [
    *(
        "",
        " ",
        "The house stood by the RIVER.",
        "Schön, schon; café CAFÉ cafe\u0301!",
        "ÜBER Straße STRASSE İstanbul ıI ß",
    ),
    *(
        "北京上海 I 住在北京house",
        "かぎ かき ガカ ｶﾞ",
        "𠀀𪚥 ㍿ 々〆",
        "한국어 क्षि ไทย שָׁלוֹם ٱلسَّلَام",
        "ﬁ ﷽ Ａｂｃ １２ ² ½ Ⅳ",
    ),
    *("a\u200bb \x00c\x07d \u00ad \ufeffthe\ufffd", "tab\there\nnew\r\nline\u2028\u3000wide\u00a0space\u0085x"),
    *("😀 👍🏽 ❤\ufe0f 👨‍👩‍👧", "the\u0301 e\u0301\u0323 ẹ́ ё й Й", "##e ##ab #the", "house" * 25),
    *("[MASK] the [SEP] [PAD][CLS] [UNK] [mask] [ MASK ] [X]", "<mask>the<pad> <s> </s> <e1>house</e1> <E1> e1s e1"),
    *("new york New  York newyork anew york", "housenew york the covid-19 Covid-19s schön Schön"),
    " ".join(letter * length for letter, length in [("a", 19), ("b", 21), ("c", 99), ("d", 100), ("e", 101)]),
]
BERT_NAMES = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], SPECIAL_TOKENS, strict=True))
OTHER_NAMES = dict(zip(BERT_NAMES, ["<pad>", "<unk>", "<s>", "</s>", "<mask>"], strict=True))
FOREIGN_CLASSES = [
    "RobertaTokenizer",
    "MPNetTokenizerFast",
    "BertJapaneseTokenizer",
    "AlbertTokenizer",
    "FunnelTokenizer",
]


class Folder:
    """One drawn folder: its files, and what in it minilm may refuse."""

    def __init__(self, path: Path, seed: int):
        self.path, self.rng, self.foreign = path, random.Random(seed), []
        path.mkdir(parents=True)
        self.names = self.rng.choice([BERT_NAMES] * 3 + [OTHER_NAMES])
        self.vocabulary = self.draw_vocabulary()
        self.settings: dict = {}
        self.draw_settings()
        kind = self.rng.choice(["vocab.txt", "vocab.txt", "tokenizer.json", "tokenizer.json", "general"])
        self.draw_added(kind)
        getattr(
            self, {"vocab.txt": "write_vocabulary", "tokenizer.json": "write_bert", "general": "write_general"}[kind]
        )()
        if self.settings or self.rng.random() < 0.5:
            self.write("tokenizer_config.json", self.settings)
        self.write("config.json", {"model_type": "bert", "vocab_size": 500})

    def write(self, name, content):
        (self.path / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def maybe(self, key, *values, p=0.5):
        if self.rng.random() < p:
            self.settings[key] = self.rng.choice(values)

    def draw_vocabulary(self) -> list[str]:
        tokens = WORDS + SIGNS + LETTERS + [f"##{c}" for c in LETTERS + ["か", "ab", "house", "\u0323"]]
        tokens = list(dict.fromkeys(tokens))
        self.rng.shuffle(tokens)
        names = list(self.names.values())
        if self.rng.random() < 0.4:
            self.rng.shuffle(names)
        at = self.rng.choice([0, 0, 7])
        return [*tokens[:at], *names, *tokens[at:]]

    def draw_settings(self):
        self.maybe("do_lower_case", True, False)
        self.maybe("strip_accents", None, True, False)
        self.maybe("tokenize_chinese_chars", True, False, p=0.4)
        self.maybe(
            "tokenizer_class", "BertTokenizer", "BertTokenizerFast", "ElectraTokenizer", "SqueezeBertTokenizerFast"
        )
        self.maybe("do_basic_tokenize", True, False, p=0.2)
        self.maybe("never_split", ["house", "[X]"], p=0.1)
        self.maybe("model_max_length", 5, 512, p=0.3)
        self.maybe("clean_up_tokenization_spaces", True, False, p=0.2)
        self.maybe("split_special_tokens", True, False, p=0.1)
        self.maybe("add_bos_token", True, False, p=0.1)
        if self.rng.random() < 0.08:
            self.settings["tokenizer_class"] = self.rng.choice(FOREIGN_CLASSES)
            self.foreign.append("tokenizer_class")
        if self.names is not BERT_NAMES or self.rng.random() < 0.3:
            flags = dict(lstrip=False, rstrip=False, single_word=False, normalized=self.rng.random() < 0.5)
            as_objects = self.rng.random() < 0.3
            for key, token in self.names.items():
                entry = {"__type": "AddedToken", "content": token} | flags | {"lstrip": key == "mask_token"}
                self.settings[key] = entry if as_objects else token

    def entries(self, n: int) -> list[dict]:
        contents = ["new york", "covid-19", "<e1>", "</e1>", "house", "[X]", "Schön", "北京", "e1"]
        return [
            dict(content=t, special=self.rng.random() < 0.5)
            | {flag: self.rng.random() < 0.4 for flag in ("lstrip", "rstrip", "single_word", "normalized")}
            for t in self.rng.sample(contents, n)
        ]

    def draw_added(self, kind):
        """Added tokens in one of the ways in which they have been written over the years."""
        self.added: dict[int, dict] = {}
        self.way = self.rng.choice(["none", "none", "decoder", "decoder", "old files", "extra"])
        if self.way == "decoder":
            plain = dict(special=True, normalized=False, lstrip=False, rstrip=False, single_word=False)
            entries = self.entries(self.rng.randint(1, 4)) + [
                dict(content=token) | plain for token in self.names.values()
            ]
            new = iter(range(len(self.vocabulary), 1000))
            known = {token: i for i, token in enumerate(self.vocabulary)}
            self.added = {known[e["content"]] if e["content"] in known else next(new): e for e in entries}
            if self.rng.random() < 0.1:
                self.foreign.append("added token")
                self.added = {i + (i >= len(known)): entry for i, entry in self.added.items()}
            order = self.rng.sample(list(self.added.items()), len(self.added))
            self.settings["added_tokens_decoder"] = {str(i): entry for i, entry in order}
        elif self.way == "old files":
            further = {"additional_special_tokens": ["<e1>"]} if self.rng.random() < 0.3 else {}
            self.foreign += further
            self.write("special_tokens_map.json", self.names | further)
            if kind == "vocab.txt":
                words = self.rng.sample(["new york", "covid-19", "<e1>", "[X]", "Schön Haus"], self.rng.randint(0, 3))
                ids = {word: len(self.vocabulary) + i for i, word in enumerate(words)}
                self.write("added_tokens.json", dict(self.rng.sample(list(ids.items()), len(ids))))
                self.maybe(self.rng.choice(["additional_special_tokens", "extra_special_tokens"]), ["<e1>", "[X]"])
        elif self.way == "extra":
            self.settings[self.rng.choice(["additional_special_tokens", "extra_special_tokens"])] = ["<e1>", "</e1>"]
            self.maybe("eos_token", "[EOS]", "</e1>", self.names["sep_token"])

    def write_vocabulary(self):
        lines = list(self.vocabulary)
        fresh = self.way in ("none",)  # added tokens get the next id, which these lines would change
        if fresh and self.rng.random() < 0.3:
            lines.insert(self.rng.randrange(len(lines)), "")
        if fresh and self.rng.random() < 0.3:
            lines += self.rng.sample(lines, 2)
        end = self.rng.choice(["\n", "\n", "\r\n", " \n", "\u3000\n"])
        last = self.rng.choice(["", end])
        (self.path / "vocab.txt").write_bytes((end.join(lines) + last).encode())

    def backend(self) -> tokenizers.Tokenizer:
        names, vocabulary = self.names, {t: i for i, t in enumerate(self.vocabulary)}
        backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=names["unk_token"]))
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.normalizer = normalizers.BertNormalizer(
            lowercase=self.rng.random() < 0.5, strip_accents=self.rng.choice([None, True, False])
        )
        cls, sep = names["cls_token"], names["sep_token"]
        ids = [(token, vocabulary[token]) for token in (cls, sep)]
        single, pair = [cls, "$A", sep], [cls, "$A", sep, "$B:1", f"{sep}:1"]
        template = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
        backend.post_processor = self.rng.choice([processors.BertProcessing(*reversed(ids)), template])
        if self.added:
            backend.add_tokens([AddedToken(**entry) for _, entry in sorted(self.added.items())])
        else:
            backend.add_special_tokens(list(names.values()))
        if self.rng.random() < 0.3:
            backend.enable_truncation(4)
            backend.enable_padding(pad_id=vocabulary[names["pad_token"]], pad_token=names["pad_token"], length=9)
        return backend

    def write_bert(self):
        file = json.loads(self.backend().to_str())
        roberta = processors.RobertaProcessing(*((self.names[key], 0) for key in ("sep_token", "cls_token")))
        if self.rng.random() < 0.35:
            change = self.rng.choice([
                *({"normalizer": value} for value in (None, {"type": "Lowercase"}, file["normalizer"] | {"clean_text": False})),
                {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}},
                {"pre_tokenizer": {"type": "Whitespace"}},
                {"model": file["model"] | {"max_input_chars_per_word": 20}},
                {"model": file["model"] | {"continuing_subword_prefix": "@@"}},
                *({"post_processor": value} for value in (None, json.loads(roberta.__getstate__()))),
            ])  # fmt: skip
            file |= change
            self.foreign += change
        if self.rng.random() < 0.2:  # these are read only if both files say the same
            self.settings["tokenizer_class"] = self.rng.choice(["DistilBertTokenizer", "ConvBertTokenizerFast"])
            self.foreign += ["lowercase", "strip_accents", "handle_chinese_chars"]
        self.write("tokenizer.json", file)
        if self.rng.random() < 0.2:
            (self.path / "vocab.txt").write_text("not\nread\n", encoding="utf-8")

    def write_general(self):
        backend = self.backend()
        stripping = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
        others = [None, normalizers.Lowercase(), stripping, normalizers.NFKC()]
        backend.normalizer = self.rng.choice([backend.normalizer, *others])
        spaces, one_by_one = pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
        others = [pre_tokenizers.Whitespace(), spaces, pre_tokenizers.Sequence([spaces, one_by_one])]
        backend.pre_tokenizer = self.rng.choice([backend.pre_tokenizer, *others])
        file = json.loads(backend.to_str())
        file["model"]["max_input_chars_per_word"] = self.rng.choice([100, 20])
        self.settings |= self.names
        self.foreign = [key for key in self.foreign if key != "tokenizer_class"]
        self.settings["tokenizer_class"] = self.rng.choice(["PreTrainedTokenizerFast", "TokenizersBackend"])
        if self.rng.random() < 0.1:
            file["post_processor"] = None
            self.foreign.append("post_processor")
        if self.rng.random() < 0.1:
            self.settings["unk_token"] = "the"
            self.foreign.append("unk_token")
        self.write("tokenizer.json", file)


def difference(folder: Folder) -> str:
    """What minilm reads differently from the referee in a folder: "" if nothing, and why, if it refuses the folder."""
    try:
        ours = Tokenizer.load(folder.path)
    except InputError as error:
        return f"refused: {error}"
    theirs = transformers.AutoTokenizer.from_pretrained(folder.path)
    named = [theirs.pad_token_id, theirs.unk_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.mask_token_id]
    if named != ours.special_ids:
        return f"special tokens {ours.special_ids} for {named}"
    never = set(named) - {
        ours.unknown
    }  # what a text says is never a special token, even if the vocabulary spells it out
    for special in (True, False):
        rows = theirs(TEXTS, add_special_tokens=False, split_special_tokens=not special)["input_ids"]
        for text, mine, row in zip(TEXTS, ours.ids(TEXTS, special), rows, strict=True):
            referee = [ours.unknown if not special and i in never else i for i in row]
            if mine != referee:
                return f"special={special} {text!r}: {ours.tokens(mine)} for {ours.tokens(referee)}"
    a, b = ours.ids(["The house", "北京 café"])
    row = theirs("The house", "北京 café", split_special_tokens=True, return_token_type_ids=True)
    return "" if ours.pair(a, b) == (row["input_ids"], row["token_type_ids"]) else f"pair {ours.pair(a, b)} for {row}"


@pytest.mark.parametrize("part", range(4))
def test_published_folders_give_the_pieces_of_transformers(tmp_path, part):
    for seed in range(part, CASES, 4):
        folder = Folder(tmp_path / str(seed), seed)
        found = difference(folder)
        if found.startswith("refused"):
            assert str(folder.path) in found and len(found) < 500, (seed, found)
            assert any(key in found for key in folder.foreign), (seed, found, folder.foreign)
        else:
            assert not found, (seed, found, folder.settings)


JUNK = [
    None,
    5,
    1.5,
    "",
    "x",
    True,
    [],
    [1],
    [None],
    ["a"],
    {},
    {"a": 1},
    {"content": 3},
    {"5": {"content": ""}},
    [[]],
    -1,
]
KEYS = [
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "tokenizer_class",
    "added_tokens_decoder",
    "auto_map",
]
KEYS += [
    "extra_special_tokens",
    "additional_special_tokens",
    "mask_token",
    "bos_token",
    "image_token",
    "fast_tokenizer_files",
]


@pytest.mark.parametrize(
    "name", ["tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json"]
)
def test_whatever_stands_in_a_settings_file_is_read_or_refused(tmp_path, name):
    """Never a traceback; and what is read gives the pieces of the referee."""
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    vocabulary = [*SPECIAL_TOKENS, "a", "b", "x", "schon", "schön"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    contents = [json.dumps({key: value}) for key in KEYS for value in JUNK] + ["", "{", "[]", "3", "null", '"a"']
    refused = 0
    for content in contents:
        (tmp_path / name).write_text(content, encoding="utf-8")
        try:
            ours = Tokenizer.load(tmp_path)
        except InputError as error:
            assert str(tmp_path) in str(error) and len(str(error)) < 400, content
            refused += 1
            continue
        try:
            theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
            rows = theirs(["A schön x b"], add_special_tokens=False)["input_ids"]
        except Exception:  # the referee is not made for junk either
            continue
        assert ours.ids(["A schön x b"], special=True) == rows, content
    assert refused > 6

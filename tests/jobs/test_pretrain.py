import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA, same, silent, weights
from transformers import BertForPreTraining, MPNetForMaskedLM

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.files.checksums import seal
from minilm.files.tensors import write_tensors
from minilm.jobs import pretrain as pretraining, pretraining_data, showing
from minilm.jobs.pretrain import PretrainOptions, held_out_batches, prepare_for, pretrain, vectors_for
from minilm.pretrained.protocol import open_pretraining
from minilm.text import prepare as preparing
from minilm.text.tokenizer import train_characters
from minilm.training.objectives import BertPretraining
from minilm.training.state import load_state, read_metrics
from minilm.training.watching import read_watched

WATCHED = ("the [MASK] sat on the [MASK] .",)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("pretrain")


@pytest.fixture
def run(shared, tmp_path):
    """Options of a run in its own folder; the prepared corpus is shared."""
    return lambda **changes: tiny.options(shared, **dict(out=tmp_path / "run", dropout=0.1, watch=WATCHED) | changes)


@pytest.fixture(scope="module")
def straight(shared):
    """A run without any interruption."""
    options = tiny.options(shared, out=shared / "straight", dropout=0.1, watch=WATCHED)
    pretrain(options, silent)
    return options.out


@pytest.fixture
def no_picture(monkeypatch):
    """Skip the drawing of curves, which would take most of the time of such a short run."""
    monkeypatch.setattr(showing.plots, "pretraining_curves", silent)


def ctrl_c_at(monkeypatch, *steps):
    tiny.ctrl_c_at(monkeypatch, PretrainingBatches, *steps)


def state_of(folder):
    """Everything that the next step depends on, without the elapsed seconds."""
    tensors, _ = load_state(folder)
    return tensors | {"progress": tensors["progress"][:2]}


def lines_of(folder):
    return {line["step"]: {k: v for k, v in line.items() if k != "seconds"} for line in read_metrics(folder)}


def assert_same_run(a, b):
    assert same(weights(a), weights(b)) and same(state_of(a), state_of(b))
    seen, wanted = ([row for row in read_watched(folder) if row["step"] in (0, 4, 8, 12)] for folder in (a, b))
    assert seen == wanted and len(wanted) == 4 * 2
    ours, theirs = lines_of(a), lines_of(b)
    common = ours.keys() & theirs.keys()
    assert {0, 4, 8, 12} <= common and all(ours[step] == theirs[step] for step in common)


# ------------------------------------------------------------------------------- stop and resume


@pytest.mark.parametrize("steps", [(0,), (3,), (7,), (11,), (1, 2, 9)])
def test_resumed_is_uninterrupted_bit_for_bit(steps, run, straight, monkeypatch, no_picture):
    """Compares weights, optimizer, generators and metrics, with dropout, for several stops (7: a measurement follows)."""
    ctrl_c_at(monkeypatch, *steps)
    said = []
    for i, step in enumerate(steps):
        if step == 11:  # stopped in the last step, so nothing is left to do
            pretrain(run(resume=i > 0), said.append)
            break
        with pytest.raises(KeyboardInterrupt):
            pretrain(run(resume=i > 0), said.append)
        assert said[-1] == (
            f"stopped at step {step + 1}; everything is saved. To go on, give the same command with --resume."
        )
        assert load_state(run().out)[0]["progress"][0] == step + 1
    last = pretrain(run(resume=True), said.append)
    assert last["step"] == 12
    assert_same_run(run().out, straight)
    assert [line["step"] for line in read_metrics(run().out)] == sorted({0, 4, 8, 12, *(s + 1 for s in steps)})


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(run, straight, shared, tmp_path, no_picture):
    pretrain(run(), silent)
    assert_same_run(run().out, straight)
    other = run(seed=1, out=tmp_path / "other")
    pretrain(other, silent)
    assert not same(weights(other.out), weights(straight))
    assert lines_of(other.out)[0]["pairs"] == lines_of(straight)[0]["pairs"]  # both are measured on the same pairs


class Killed(BaseException):
    """Simulates a process that is killed at exactly that line."""


def test_a_run_that_is_killed_at_any_write_goes_on_as_if_it_had_not_been(run, tmp_path, monkeypatch, no_picture):
    """In turn, the run is killed just before or just after each replacement of a file."""
    short = dict(steps=2, evaluations=2, layers=1)
    straight = tmp_path / "straight"
    pretrain(run(out=straight, **short), silent)
    real = os.replace

    def kill_at(number, after):
        left = [number]

        def dying(a, b):
            left[0] -= 1
            if left[0] == 0 and not after:
                raise Killed
            real(a, b)
            if left[0] == 0:
                raise Killed

        monkeypatch.setattr(os, "replace", dying)
        return left

    number = 0
    while True:
        number += 1
        options = run(out=tmp_path / f"run-{number}", **short)
        left = kill_at(number, after=number % 2)
        try:
            pretrain(options, silent)
            break
        except Killed:
            pass
        finally:
            monkeypatch.setattr(os, "replace", real)
        assert left == [0]
        begun = load_state(options.out) is not None
        pretrain(replace(options, resume=begun), silent)
        assert same(weights(options.out), weights(straight)) and same(state_of(options.out), state_of(straight))
        assert lines_of(options.out) == lines_of(straight)
    assert number > 21  # the metrics, then three states and three models of several files each


@pytest.mark.parametrize("ending", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_process_that_is_stopped_leaves_a_run_that_goes_on(ending, run, shared, tmp_path, monkeypatch, no_picture):
    """In a separate process, Ctrl-C and SIGTERM exit with 130 and say how to resume; kill -9 leaves the last measurement's state."""
    long = dict(out=tmp_path / "long", dropout=0.1, layers=1, steps=3000, evaluations=300)
    process = subprocess.Popen(
        [sys.executable, "-m", "minilm.cli", "pretrain", *tiny.arguments(shared, **long)],
        env=os.environ | {"PYTHONPATH": str(DATA.parent), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    metrics = long["out"] / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text(encoding="utf-8").count("\n") > 2):
        time.sleep(0.05)
    process.send_signal(getattr(signal, ending))
    out, err = process.communicate(timeout=120)
    if ending != "SIGKILL":
        assert process.returncode == 130 and err == "minilm: stopped.\n"
        assert "To go on, give the same command with --resume." in out
    else:
        assert process.returncode == -signal.SIGKILL
    step = int(load_state(long["out"])[0]["progress"][0])
    assert 10 <= step < 3000  # the metrics may be one line ahead of the state

    ctrl_c_at(monkeypatch, step + 4)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run(**long, resume=True), silent)
    ctrl_c_at(monkeypatch, step + 4)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run(**long | {"out": tmp_path / "straight"}), silent)
    assert same(state_of(long["out"]), state_of(tmp_path / "straight"))


def test_a_full_disk_leaves_the_last_good_state(run, straight, monkeypatch, no_picture, capsys):
    real, count = Path.write_bytes, [0]

    def full(self, data):
        count[0] += "state.safetensors" in self.name
        if count[0] == 3:
            real(self, data[: len(data) // 2])
            raise OSError(28, "No space left on device", str(self))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        pretrain(run(), silent)
    monkeypatch.setattr(Path, "write_bytes", real)
    assert load_state(run().out)[0]["progress"][0] == 4
    assert not list(run().out.rglob("*.growing"))
    pretrain(run(resume=True), silent)
    assert_same_run(run().out, straight)


def test_metrics_that_were_cut_in_half_cost_no_other_line(run, straight, monkeypatch, no_picture):
    ctrl_c_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run(), silent)
    with open(run().out / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 8, "tok')
    pretrain(run(resume=True), silent)
    assert_same_run(run().out, straight)


def test_a_run_is_neither_overwritten_nor_resumed_as_another(run, straight, shared, tmp_path):
    before = weights(straight)
    with pytest.raises(InputError, match="holds a run already: add --resume"):
        pretrain(run(out=straight), silent)
    with pytest.raises(InputError, match=r"started with other options \(learning_rate was [0-9.]+ and is 0.1\)"):
        pretrain(run(out=straight, resume=True, learning_rate=0.1), silent)
    with pytest.raises(InputError, match="holds no run to resume"):
        pretrain(run(resume=True), silent)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="is a file: give --out the name of a folder"):
        pretrain(run(out=tmp_path / "file"), silent)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes((straight / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="holds a model already"):
        pretrain(run(out=model), silent)
    assert same(weights(straight), before)


def test_a_finished_run_that_is_resumed_stays_what_it_is(run, straight, no_picture):
    before = (straight / "metrics.jsonl").read_bytes()
    last = pretrain(run(out=straight, resume=True), silent)
    assert last == read_metrics(straight)[-1] and (straight / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("latest.json", "{", r"latest\.json is damaged"),
        ("latest.json", '{"folder": "gone"}', "it names gone, which is not there"),
        ("step-00000012/facts.json", "{}", r"facts\.json is damaged"),
        ("step-00000012/state.safetensors", "x" * 99, r"state\.safetensors is damaged"),
        ("../metrics.jsonl", "", r"metrics\.jsonl is damaged"),
    ],
)
def test_a_state_that_is_broken_is_refused(file, content, message, run, straight, tmp_path):
    broken = tmp_path / "broken"
    for path in straight.rglob("*"):
        if path.is_file():
            copy = broken / path.relative_to(straight)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (broken / "training_state" / file).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message) as refused:
        pretrain(run(out=broken, resume=True), silent)
    step = {"latest.json": 12, "../metrics.jsonl": None}.get(file, 8)  # a damaged name leaves the last state whole
    offered = f"The state of step {step} is whole: add --resume-at {step} " if step else "No other state is whole"
    assert offered in str(refused.value)


def test_from_the_state_before_the_last_one_a_run_goes_on_to_the_same_end(run, straight, tmp_path, no_picture):
    copy = tmp_path / "copy"
    shutil.copytree(straight, copy)
    (copy / "training_state" / "step-00000012" / "state.safetensors").write_bytes(b"damaged")
    pretrain(run(out=copy, resume_at=8), silent)
    assert_same_run(copy, straight)


def test_where_the_name_of_the_last_state_is_damaged_a_run_goes_on_from_the_state_that_is_offered(
    run, straight, tmp_path, no_picture
):
    copy = tmp_path / "copy"
    shutil.copytree(straight, copy)
    (copy / "training_state" / "latest.json").write_text("{", encoding="utf-8")
    pretrain(run(out=copy, resume_at=8), silent)
    assert_same_run(copy, straight)


def resealed(folder, tensors=None, facts=None):
    """A state with other contents, which its checksums confirm: as only an attacker or a mistake of ours would make it."""
    if tensors is not None:
        write_tensors(folder / "state.safetensors", tensors)
    if facts is not None:
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    sealed = seal(folder, ["state.safetensors", "facts.json"])
    (folder.parent / "latest.json").write_text(json.dumps({"folder": folder.name, "seal": sealed}), encoding="utf-8")


def test_a_state_that_does_not_say_how_it_was_begun_is_refused(run, straight, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(straight, broken)
    facts = load_state(broken)[1]
    del facts["options"]
    resealed(broken / "training_state" / "step-00000012", facts=facts)
    with pytest.raises(InputError, match="does not say with which options it was started"):
        pretrain(run(out=broken, resume=True), silent)


@pytest.mark.parametrize(
    "damaged",
    [
        {"generator": torch.zeros(3, dtype=torch.uint8)},
        {"generator": torch.zeros(5056)},
        {"progress": torch.tensor([torch.nan, 0.0, 0.0])},
        {"progress": torch.tensor([torch.inf, 0.0, 0.0])},
        {"progress": torch.tensor([1.0, 2.0, torch.nan])},
        {"progress": torch.tensor([1.0, 2.0])},
    ],
)
def test_a_state_with_other_numbers_is_refused(damaged, run, straight, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(straight, broken)
    resealed(broken / "training_state" / "step-00000012", tensors=load_state(broken)[0] | damaged)
    with pytest.raises(InputError, match=r"the state in .*training_state is broken .*begin again in another --out"):
        pretrain(run(out=broken, resume=True), silent)


def test_F34_word_vectors_that_are_damaged_are_counted_again(run, tmp_path):
    options = run(cache=tmp_path / "cache")
    prepared = prepare_for(options, silent)
    vectors = vectors_for(prepared, options)
    (path,) = prepared.folder.glob("vectors-*.npy")
    whole = path.read_bytes()
    for left in (0, 100, len(whole) - 8):
        path.write_bytes(whole[:left])
        assert np.array_equal(vectors_for(prepared, options), vectors) and path.read_bytes() == whole


def test_F34_word_vectors_that_several_ask_for_at_once_are_counted_once(run, tmp_path, monkeypatch):
    options, counted = run(cache=tmp_path / "cache"), []
    prepared = prepare_for(options, silent)
    real = pretraining_data.local_and_document_vectors

    def slowly(*given):
        counted.append(1)
        time.sleep(0.2)  # without a lock, the other one comes here too
        return real(*given)

    monkeypatch.setattr(pretraining_data, "local_and_document_vectors", slowly)
    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(lambda _: vectors_for(prepared, options), range(3))
    assert len(counted) == 1 and all(np.array_equal(first, other) for other in others)


# ------------------------------------------------------------------------------- what it writes


def test_F25_F26_with_learned_positions_the_folder_opens_in_transformers_with_equal_logits(run, no_picture):
    """With relative ones it opens as well, but has no next sentence there: see the test of F21 below."""
    pretrain(run(positions="learned", steps=3), silent)
    folder = run().out
    ours = open_pretraining(folder)
    theirs, info = BertForPreTraining.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    batch = held_out_batches(prepare_for(run(), silent), 24)[0]
    ids, token_type_ids, mask = batch.input_ids, batch.token_type_ids, batch.attention_mask
    mask = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    with torch.no_grad():
        got = ours.model.double()(ids, token_type_ids, batch.attention_mask)
        wanted = theirs.double().eval()(ids, token_type_ids=token_type_ids, attention_mask=mask.long())
    torch.testing.assert_close(got.mlm_logits[mask], wanted.prediction_logits[mask], atol=1e-10, rtol=0)
    torch.testing.assert_close(got.nsp_logits, wanted.seq_relationship_logits, atol=1e-10, rtol=0)


def test_a_run_folder_holds_what_was_promised(straight):
    assert {path.name for path in straight.iterdir()} == {
        *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "checksums.json"),
        *("notes.txt", "training.lock"),
        *("metrics.jsonl", "pretraining.png", "watched.jsonl", "watched.png", "training_state"),
    }
    keys = {"step", "tokens", "seconds", "mlm_loss", "nsp_loss", "nsp_accuracy", "pairs"}
    assert [(line["step"], line.keys() == keys) for line in read_metrics(straight)] == [
        (step, True) for step in (0, 4, 8, 12)
    ]
    assert (straight / "pretraining.png").read_bytes().startswith(b"\x89PNG")
    states = sorted(path.name for path in (straight / "training_state").glob("step-*"))
    assert states == ["step-00000008", "step-00000012"]


def test_the_measurement_is_that_of_the_written_model(straight, run):
    held_out = held_out_batches(prepare_for(run(), silent), 24)
    measured = BertPretraining().measure(open_pretraining(straight).model, held_out)
    last = read_metrics(straight)[-1]
    assert {key: last[key] for key in measured} == pytest.approx(measured, abs=1e-6)


# ------------------------------------------------------------------------------- the corpus


def test_a_second_run_finds_the_corpus_and_does_no_work(run, straight, monkeypatch):
    def fail(*_):
        raise AssertionError("the corpus was read again")

    for name in ("write_store", "write_texts", "train_wordpiece"):
        monkeypatch.setattr(preparing, name, fail)
    monkeypatch.setattr(pretraining_data, "local_and_document_vectors", fail)
    said = []
    prepared = prepare_for(run(), said.append)
    pretraining.build(run(), prepared)
    assert prepared.seconds == 0 and not said


def test_a_file_that_was_edited_is_another_corpus(run, tmp_path, no_picture, monkeypatch):
    text = tmp_path / "my.txt"
    text.write_text((DATA / "english.txt").read_text(encoding="utf-8"), encoding="utf-8")
    options = run(corpus=str(text), cache=tmp_path / "cache")
    ctrl_c_at(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        pretrain(options, silent)
    first = prepare_for(options, silent)
    with open(text, "a", encoding="utf-8") as file:
        file.write("One more sentence.\n")
    assert prepare_for(options, silent).folder != first.folder
    with pytest.raises(InputError, match="started on another text"):
        pretrain(replace(options, resume=True), silent)


# ------------------------------------------------------------------------------- budgets and options


def test_budgets_in_tokens_and_minutes(run, tmp_path, no_picture):
    last = pretrain(run(tokens=500, out=tmp_path / "tokens"), silent)
    before = read_metrics(tmp_path / "tokens")[-2]
    assert before["tokens"] < 500 <= last["tokens"] < 500 + 4 * 24
    last = pretrain(run(minutes=0.003, out=tmp_path / "minutes"), silent)
    assert last["step"] > 0 and load_state(tmp_path / "minutes")[0]["progress"][2] >= 0.18


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(steps=None), "exactly one of steps, tokens and minutes"),
        (dict(tokens=5, steps=5), "exactly one of steps, tokens and minutes"),
        (dict(steps=0), "steps must be a positive number, not 0"),
        (dict(width=10), "width 10 is not divisible by 3 heads"),
        (dict(learning_rate=0.0), "the learning rate must be above 0, not 0.0"),
        (dict(learning_rate=float("nan")), "the learning rate must be above 0, not nan"),
        (dict(warmup=1.0), "warmup must be at least 0 and below 1, not 1.0"),
        (dict(schedule="steep"), "schedule 'steep' is not known"),
        (dict(mask_rate=0.0), "mask_rate must be between 0 and 1, not 0.0"),
        (dict(clip=0.0), "clip must be above 0, not 0.0"),
        (dict(seed=-1), "seed must be from 0 to 4294967295, not -1"),
        (dict(window=0), "window must be at least 1, not 0"),
        (dict(batch=0), "batch must be at least 1, not 0"),
        (dict(held_out=0), "held_out must be at least 1, not 0"),
        (dict(evaluations=0), "evaluations must be at least 1, not 0"),
        (dict(evaluations=10**9), "evaluations must be at most 10,000, not 1,000,000,000"),
        (dict(vocab_size=10**12), "vocab_size must be at most 1,000,000, not 1,000,000,000,000"),
        (dict(vocab_size=10**20), "vocab_size must be at most 1,000,000, not 1[0,]+"),
        (dict(layers=10**9), "layers must be at most 1,000, not 1,000,000,000"),
        (dict(width=10**18), "width must be at most 100,000, not 1[0,]+"),
        (dict(weight_decay=-0.1), "weight_decay must be at least 0, not -0.1"),
        (dict(next_sentence_weight=-1.0), "next_sentence_weight must be at least 0, not -1.0"),
        (dict(next_sentence_rest=-0.1), "next_sentence_rest must be at least 0, not -0.1"),
        (dict(embedding_learning_rate_scale=-1.0), "embedding_learning_rate_scale must be at least 0, not -1.0"),
        (dict(dropout=1.0), "dropout .*1.0"),
        (dict(init="zero"), "init 'zero' is not known"),
        (dict(length=7), "length must be at least 8, not 7"),
        (dict(architecture="rnn"), "architecture 'rnn' is not known: choose one of bert, .*lstm"),
        (dict(architecture="lstm", heads=4, dropout=1.0), "dropout .*1.0"),
        (dict(norm="mid"), "norm 'mid' is not known"),
        (dict(positions="none"), "positions 'none' is not known"),
        (dict(positions="mpnet"), "positions 'mpnet' are for published models: pretrain with relative ones"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_any_work(changes, message):
    given = {"steps": 3} | tiny.SIZES | changes
    with pytest.raises(InputError, match=message):
        PretrainOptions(**given)


@pytest.mark.parametrize(
    "changes",
    [
        dict(width=6, heads=3, layers=1),
        dict(width=7, heads=1, layers=1),
        dict(norm="pre"),
        dict(positions="sinusoidal", word_vectors=False),
        dict(positions="learned"),
        dict(positions="rotary"),
        dict(init="published", next_sentence_weight=0.0),
        dict(init="fan-in", lowercase=False, units="characters", vocab_size=100),
    ],
)
def test_other_shapes_and_starts_train_as_well(changes, run, shared, no_picture):
    last = pretrain(run(**changes, steps=3), silent)
    assert last["step"] == 3 and np.isfinite(last["mlm_loss"])
    open_pretraining(run().out)


def test_F21_a_run_with_the_default_positions_opens_in_transformers_as_an_mpnet(run, no_picture):
    pretrain(run(steps=3), silent)
    ours, theirs = open_pretraining(run().out).model, MPNetForMaskedLM.from_pretrained(run().out).eval()
    ids = torch.randint(0, ours.config.vocab_size, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = theirs(ids), ours(ids).mlm_logits
    torch.testing.assert_close(got, expected.logits, atol=1e-5, rtol=0)
    assert (ours.config.positions, PretrainOptions(steps=1).depth) == ("relative", 3)


def test_tensorboard_hears_every_measurement_and_a_refused_run_leaves_its_folder_alone(run, monkeypatch, no_picture):
    made, heard = [], []

    class SummaryWriter:
        def __init__(self, folder):
            made.append(folder)

        def add_scalar(self, name, value, step):
            heard.append((name, value, step))

        def flush(self):
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=SummaryWriter))
    with pytest.raises(InputError, match="holds no run to resume"):
        pretrain(run(tensorboard=True, resume=True), silent)
    assert made == []
    pretrain(run(tensorboard=True, steps=2, evaluations=2), silent)
    rows = [json.loads(line) for line in (run().out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert made == [str(run().out / "tensorboard")]
    assert sorted(heard) == sorted((name, row[name], row["step"]) for row in rows for name in row if name != "step")


def test_tensorboard_that_is_not_there_is_asked_for(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'minilm\[tensorboard\]'"):
        pretrain(run(tensorboard=True), silent)
    assert not run().out.exists()


def test_F25_pretraining_learns_more_than_how_common_the_tokens_are(run, no_picture):
    """On its training text, the loss is below that of the best model without context, which uses only frequencies."""
    recipe = dict(learning_rate=1e-2, warmup=0.05, next_sentence_weight=1.0, dropout=0.0, batch=16)
    options = run(steps=300, width=24, heads=3, evaluations=1, **recipe)
    prepared = prepare_for(options, silent)
    batch = PretrainingBatches(prepared.train, prepared.tokenizer, 24, 32, seed=5)[0]
    masked = batch.labels[batch.labels != -100].numpy()
    share = np.bincount(prepared.train.ids, minlength=prepared.tokenizer.size) / prepared.train.tokens
    unigram = -np.log(share[masked]).mean()
    pretrain(options, silent)
    first, last = read_metrics(options.out)
    assert last["mlm_loss"] < first["mlm_loss"]  # on held-out text
    assert BertPretraining().measure(open_pretraining(options.out).model, [batch])["mlm_loss"] < unigram


def test_the_state_says_with_which_options_it_was_started(straight):
    facts = load_state(straight)[1]
    assert facts["options"]["dropout"] == 0.1 and facts["options"]["corpus"].endswith("english.txt")
    json.dumps(facts)


# ------------------------------------------------------------------------------- what is said, and what is refused


def test_a_text_whose_words_are_all_unknown_is_refused(run, tmp_path):
    """There would be nothing to guess, and a loss of 0.000 looks like a perfect model."""
    foreign = tmp_path / "tokenizer.json"
    foreign.write_text(train_characters(["абв"]).to_json(), encoding="utf-8")
    with pytest.raises(InputError, match="none of the [0-9,]+ tokens of the training part is in the vocabulary"):
        pretrain(run(tokenizer=foreign), silent)
    assert not (tmp_path / "run").exists()


def test_text_that_fits_into_no_pair_takes_part_and_is_said(run, tmp_path, no_picture):
    text = tmp_path / "mostly_single.txt"
    single = [f"hen {i} sat alone on a wall .\n" for i in range(40)]
    text.write_text("\n".join([*single, *["The hen sat .\nThe dog ran .\nA fox came .\n"] * 30]), encoding="utf-8")
    said = []
    options = run(corpus=str(text), steps=4, held_out=14)
    pretrain(options, said.append)
    (note,) = [line for line in said if "fits into no sentence pair" in line]
    rows = int(note.split()[1])
    train = prepare_for(options, silent).train
    assert rows == int((np.diff(train.documents) == 1).sum()) > 20
    assert note.removeprefix("note: ") in (options.out / "notes.txt").read_text(encoding="utf-8").splitlines()


def test_without_next_sentence_documents_of_one_sentence_will_do(run, tmp_path, no_picture):
    text = tmp_path / "single.txt"
    text.write_text("\n\n".join(f"hen {i} sat alone on a wall ." for i in range(40)), encoding="utf-8")
    measured = pretrain(run(corpus=str(text), steps=4, next_sentence_weight=0.0), silent)
    assert "mlm_loss" in measured and not {"nsp_loss", "nsp_accuracy", "pairs"} & measured.keys()
    with pytest.raises(InputError, match="no sentence pairs can be made.*--next-sentence-weight 0"):
        pretrain(run(corpus=str(text), steps=4, out=tmp_path / "other"), silent)


class Enough(Exception):
    """Raised to stop a run before its first step, because only how it is set up matters."""


@pytest.mark.parametrize(("weight", "scaled"), [(0.5, True), (0.0, False)])
def test_the_pooler_learns_at_its_own_rate_if_there_are_pairs(weight, scaled, run, monkeypatch):
    def stop_here(self, *_, **__):
        raise Enough(self)

    monkeypatch.setattr(pretraining.TrainingRun, "train_in", stop_here)
    with pytest.raises(Enough) as stopped:
        pretrain(run(next_sentence_weight=weight, next_sentence_rest=0.5, pooler_learning_rate_scale=0.125), silent)
    training = stopped.value.args[0]
    assert [training.objective.at(p).next_sentence_weight for p in (0, 0.5)] == [weight, weight / 2]
    scale = {name: group["scale"] for group in training.optimizer.groups for name in group["names"]}
    assert scale.keys() == dict(training.model.named_parameters()).keys()
    of_pairs = {name for name in scale if name.startswith(("pooler.", "nsp_head."))}
    assert len(of_pairs) == 4 and {name for name, s in scale.items() if s == 0.125} == (of_pairs if scaled else set())
    assert set(scale.values()) == ({0.1, 0.125, 1.0} if scaled else {0.1, 1.0})


def test_another_number_of_threads_is_said_when_a_run_goes_on(run, monkeypatch, no_picture):
    ctrl_c_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run(), silent)
    facts = load_state(run().out)[1]
    assert facts["threads"] == torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: facts["threads"] + 3)
    said = []
    ctrl_c_at(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        pretrain(run(resume=True), said.append)
    (note,) = [line for line in said if f"goes on with {facts['threads'] + 3}" in line and "OMP_NUM_THREADS" in line]
    said.clear()
    pretrain(run(resume=True), said.append)  # with as many threads as before, but the weights are what they are
    assert note not in said
    assert note.removeprefix("note: ") in (run().out / "notes.txt").read_text(encoding="utf-8").splitlines()


# ------------------------------------------------------------------------------- nothing is lost, and nothing damaged is used


def test_a_folder_in_which_another_process_trains_is_left_alone(run, shared, tmp_path, monkeypatch, no_picture):
    long = dict(out=tmp_path / "long", dropout=0.1, layers=1, steps=3000, evaluations=300)
    process = subprocess.Popen(
        [sys.executable, "-m", "minilm.cli", "pretrain", *tiny.arguments(shared, **long)],
        env=os.environ | {"PYTHONPATH": str(DATA.parent), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not (long["out"] / "training_state" / "latest.json").exists():
            time.sleep(0.05)
        with pytest.raises(InputError, match="another process is training in .*long: wait until it ends"):
            pretrain(run(**long, resume=True), silent)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_model_is_not_opened_and_resuming_writes_it_again(name, run, straight, tmp_path, no_picture):
    copy = tmp_path / "copy"
    shutil.copytree(straight, copy)
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        open_pretraining(copy)
    pretrain(run(out=copy, resume=True), silent)
    assert same(weights(copy), weights(straight))
    open_pretraining(copy)


def test_a_run_that_diverges_says_which_batch_it_was_and_meets_it_again(run, tmp_path, monkeypatch, no_picture):
    real = BertPretraining.step
    steps = iter(range(100))

    def step(self, model, batch):
        made = real(self, model, batch)
        return replace(made, loss=made.loss * torch.nan) if next(steps) == 6 else made

    monkeypatch.setattr(BertPretraining, "step", step)
    with pytest.raises(InputError) as refused:
        pretrain(run(), silent)
    message = str(refused.value)
    assert message.startswith("the loss is no longer a number at step 6. Lower the learning rate")
    assert "The state of step 4 is saved in" in message and "meets the same batch, number 6, again" in message
    assert load_state(run().out)[0]["progress"][0] == 4
    steps = iter(range(4, 100))
    with pytest.raises(InputError, match="the loss is no longer a number at step 6"):
        pretrain(run(resume=True), silent)

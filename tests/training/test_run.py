"""`TrainingRun`: a resumed run equals an uninterrupted one; also tests what `train_in` writes and says."""

import re
import signal

import numpy as np
import pytest
import torch
from tiny import same

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.causal_lm import TextWindows
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.text.store import Store
from minilm.text.tokenizer import train_characters
from minilm.training.loop import LearningRate
from minilm.training.objectives import BertPretraining, CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import load_state, read_metrics, save_state

TOKENIZER = train_characters(["abcdefgh"])
STEPS, LENGTH = 8, 12


def store():
    """12 documents of 3 sentences with 4 tokens each."""
    ids = np.random.default_rng(0).integers(5, TOKENIZER.size, 144).astype(np.uint16)
    return Store(ids, np.arange(0, 145, 4), np.arange(0, 37, 3))


def lstm(seed):
    generator = torch.Generator().manual_seed(seed)
    model = LSTMLanguageModel(LSTMConfig(TOKENIZER.size, embedding=5, hidden=6, layers=2, dropout=0.3), generator)
    return model, CausalLM(), TextWindows(store(), TOKENIZER, LENGTH, 3, seed=7)


def bert(seed):
    shape = dict(width=6, layers=2, heads=3, feed_forward=7, max_length=LENGTH, dropout=0.3)
    model = BertForPretraining(TransformerConfig(TOKENIZER.size, **shape))
    initialise(model, generator=torch.Generator().manual_seed(seed))
    return (
        model,
        BertPretraining(2.0, rest=0.3),
        PretrainingBatches(store(), TOKENIZER, LENGTH, 3, seed=7, mask_rate=0.4),
    )


def new_run(make, model_seed=0, seed=3, wrap=lambda batch_at: batch_at):
    model, objective, batches = make(model_seed)
    optimisation = Optimisation(LearningRate(0.02, warmup=0.2), 0.1, 0.5, clip=0.5)
    return TrainingRun(*(model, objective, wrap(batches.__getitem__), Budget(steps=STEPS), optimisation), seed=seed)


def state_of(run):
    """Everything that the next step depends on, without the elapsed seconds."""
    tensors = run.snapshot()
    return {name: tensor.clone() for name, tensor in tensors.items()} | {"progress": tensors["progress"][:2]}


@pytest.fixture(scope="module", params=[lstm, bert], ids=["lstm", "bert"])
def make(request):
    return request.param


@pytest.mark.parametrize("stops", [(1,), (5,), (7,), (2, 3, 6)])
def test_stopped_and_restored_is_uninterrupted_bit_for_bit(stops, make, tmp_path):
    """Tested with dropout. Each time, the run resumes in a new model with other weights and another generator."""
    whole = new_run(make)
    assert whole.train(bar=False) is whole.progress and whole.done
    run = new_run(make)
    for i, stop in enumerate(stops):
        run.train([stop / STEPS], lambda progress: True, bar=False)
        assert run.progress.step == stop and not run.done
        save_state(tmp_path, stop, run.snapshot(), {})
        run = new_run(make, model_seed=99 + i, seed=99 + i)
        assert not same(state_of(run), state_of(whole))
        run.restore(tmp_path, load_state(tmp_path)[0])
        assert run.progress.step == stop
    run.train(bar=False)
    assert run.progress.step == STEPS and run.done and same(state_of(run), state_of(whole))


def test_the_objective_is_told_how_much_of_the_run_is_done():
    told = []

    class Told(CausalLM):
        def at(self, progress):
            told.append(progress)
            return self

    model, _, batches = lstm(0)
    run = TrainingRun(model, Told(), batches.__getitem__, Budget(steps=STEPS), Optimisation(LearningRate(0.02)))
    run.train(bar=False)
    assert told == [step / STEPS for step in range(STEPS)]


def test_the_seed_decides(make):
    runs = [new_run(make, seed=seed) for seed in (3, 3, 4)]
    for number, run in enumerate(runs):
        torch.manual_seed(number)  # the global generator must not matter
        run.train(bar=False)
    assert same(state_of(runs[0]), state_of(runs[1])) and not same(state_of(runs[0]), state_of(runs[2]))


def test_what_is_restored_must_fit(make, tmp_path):
    run = new_run(make)
    tensors = run.snapshot()
    name = next(iter(tensors))
    with pytest.raises(
        InputError, match=f"the weights of the saved state in {re.escape(str(tmp_path))} do not fit: missing"
    ):
        run.restore(tmp_path, {key: tensor for key, tensor in tensors.items() if key != name})
    with pytest.raises(
        InputError, match=r"the saved state in .* was not written by minilm: begin again in another --out"
    ):
        run.restore(tmp_path, {key: tensor for key, tensor in tensors.items() if key != "generator"})
    with pytest.raises(
        InputError, match=r"training_state: the optimizer's saved state lacks 'steps': it belongs to another"
    ):
        run.restore(tmp_path, {key: tensor for key, tensor in tensors.items() if key != "optimizer.steps"})
    with pytest.raises(InputError, match=r"the state in .*training_state is broken \(.*\): begin again in another"):
        run.restore(tmp_path, tensors | {"generator": torch.zeros(3, dtype=torch.uint8)})


class Recorder:
    """A run in a folder that records everything it says, reports and saves."""

    def __init__(self, make, out, wrap=lambda batch_at: batch_at, **changes):
        self.run, self.out = new_run(make, wrap=wrap, **changes), out
        self.said, self.reports, self.saved = [], [], []
        batches = make(0)[2]
        self.held_out = [batches[i] for i in range(100, 103)]

    def train(self, evaluations=4, state=None):
        weights = self.run.model.named_parameters
        return self.run.train_in(
            self.out,
            self.held_out,
            save_model=lambda: self.saved.append({name: p.detach().clone() for name, p in weights()}),
            facts={"options": {"a": 1}},
            state=state,
            evaluations=evaluations,
            bar=False,
            say=self.said.append,
            on_report=self.reports.append,
        )


def without_clock(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_train_in_measures_saves_and_reports(make, tmp_path):
    recorder = Recorder(make, tmp_path / "run")
    run = recorder.run
    first = run.objective.measure(run.model, recorder.held_out)
    last = recorder.train()
    rows = read_metrics(tmp_path / "run")
    assert rows == recorder.reports and rows[-1] == last
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8]
    assert {name: rows[0][name] for name in first} == first  # measured before the first step
    measured = run.objective.measure(run.model, recorder.held_out)
    assert {name: last[name] for name in measured} == measured and measured != first
    assert rows[0].keys() == {"step", "tokens", "seconds", *measured}
    assert last["tokens"] == run.progress.tokens > rows[1]["tokens"] > 0
    assert len(recorder.saved) == 5 and same(recorder.saved[-1], dict(run.model.named_parameters()))
    tensors, facts = load_state(tmp_path / "run")
    assert facts["options"] == {"a": 1} and same(tensors, run.snapshot())
    assert [line.split("min  ")[1] for line in recorder.said] == [
        f"step {row['step']:6,}  {run.objective.summary(row)}" for row in rows
    ]


def pressing_ctrl_c(*steps):
    """Simulate Ctrl-C while the batches of these steps are made."""

    def wrap(batch_at):
        def get(step):
            if step in steps:
                signal.raise_signal(signal.SIGINT)
            return batch_at(step)

        return get

    return wrap


@pytest.mark.parametrize("step", [0, 3, 6])
def test_after_ctrl_c_everything_is_saved_and_keyboard_interrupt_is_raised(step, make, tmp_path):
    straight = Recorder(make, tmp_path / "straight")
    straight.train()
    out, before = tmp_path / "run", signal.getsignal(signal.SIGINT)
    stopped = Recorder(make, out, wrap=pressing_ctrl_c(step))
    with pytest.raises(KeyboardInterrupt):
        stopped.train()
    assert signal.getsignal(signal.SIGINT) is before
    assert stopped.run.progress.step == step + 1 and not stopped.run.done
    assert stopped.reports[-1]["step"] == step + 1 and read_metrics(out) == stopped.reports
    assert same(stopped.saved[-1], dict(stopped.run.model.named_parameters()))
    assert stopped.said[-1] == (
        f"stopped at step {step + 1}; everything is saved. To go on, give the same command with --resume."
    )
    resumed = Recorder(make, out, model_seed=5, seed=5)
    last = resumed.train(state=load_state(out)[0])
    assert same(resumed.saved[0], stopped.saved[-1])  # the process may end before the model is saved
    assert without_clock([last]) == without_clock(straight.reports[-1:])
    assert same(state_of(resumed.run), state_of(straight.run))
    steps = sorted({0, 2, 4, 6, 8, step + 1})
    assert [row["step"] for row in read_metrics(out)] == steps
    common = [row for row in without_clock(read_metrics(out)) if row["step"] % 2 == 0]
    assert common == without_clock(straight.reports)


def test_ctrl_c_in_the_last_step_is_no_interruption(make, tmp_path):
    recorder = Recorder(make, tmp_path, wrap=pressing_ctrl_c(STEPS - 1))
    assert recorder.train()["step"] == STEPS and recorder.run.done


def test_a_finished_run_that_is_resumed_trains_no_further(make, tmp_path):
    recorder = Recorder(make, tmp_path)
    last = recorder.train()
    again = Recorder(make, tmp_path, model_seed=5)
    assert again.train(state=load_state(tmp_path)[0]) == last and not again.reports
    assert same(state_of(again.run), state_of(recorder.run))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(weight_decay=-1.0), "weight_decay must be at least 0, not -1.0"),
        (dict(weight_decay=float("nan")), "weight_decay must be at least 0, not nan"),
        (dict(embedding_learning_rate_scale=-0.1), "embedding_learning_rate_scale must be at least 0, not -0.1"),
        (dict(layer_decay=0.0), r"layer_decay must be above 0 and at most 1 \(1 means none\), not 0.0"),
        (dict(layer_decay=1.1), r"layer_decay must be above 0 and at most 1 \(1 means none\), not 1.1"),
        (dict(clip=0.0), "clip must be above 0, not 0.0"),
        (dict(learning_rate=LearningRate(0.1, warmup=1.0)), "warmup must be at least 0 and below 1, not 1.0"),
    ],
)
def test_an_optimisation_that_cannot_be_is_refused_when_it_is_made(changes, message):
    with pytest.raises(InputError, match=message):
        Optimisation(**dict(learning_rate=LearningRate(0.1)) | changes)


def test_the_optimisation_reaches_the_optimizer():
    model, objective, batches = bert(0)
    optimisation = Optimisation(LearningRate(0.1), 0.2, 0.5, 0.5, 1.0, betas=(0.8, 0.9), eps=1e-3)
    run = TrainingRun(model, objective, batches.__getitem__, Budget(steps=1), optimisation)
    assert (run.optimizer.betas, run.optimizer.eps) == ((0.8, 0.9), 1e-3)
    groups = {name: (g["scale"], g["weight_decay"]) for g in run.optimizer.groups for name in g["names"]}
    assert groups["encoder.embeddings.tokens.weight"] == (0.5 * 0.25, 0.2)  # two layers below the last layer
    assert groups["encoder.stack.layers.0.feed_forward.inner.weight"] == (0.5, 0.2)
    assert groups["nsp_head.weight"] == (1.0, 0.2) and groups["nsp_head.bias"] == (1.0, 0.0)


def test_nobody_needs_to_look_at_what_train_returns():
    run = new_run(lstm)
    before = state_of(run)
    run.train(bar=False)
    assert run.progress.step == STEPS and not same(state_of(run), before)

"""`pretrain`, `finetune` and `prompt` write into a folder alone: a second process gets one sentence, the first one its model."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from tiny import DATA, same, silent

from minilm.errors import InputError
from minilm.files.lock import alone_in
from minilm.files.tensors import read_safetensors
from minilm.jobs import finetune as finetuning, pretrain as pretraining, prompt as prompting
from minilm.jobs.finetune import FinetuneOptions, finetune
from minilm.jobs.pretrain import PretrainOptions, pretrain
from minilm.jobs.prompt import PromptOptions, prompt
from minilm.pretrained.protocol import open_pretraining
from minilm.training.supervised import Recipe

REVIEWS, ONE = str(DATA / "reviews.csv"), Recipe(epochs=1)
JOBS = {"finetune": finetuning, "prompt": prompting}


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("alone"), steps=1, evaluations=1)
    pretrain(options, silent)
    return options.out


@pytest.fixture
def job(request, book):
    """Runs one of the two jobs into a folder, and gives its arguments on the command line."""
    a, b = [word for word in open_pretraining(book).tokenizer.backend.get_vocab() if word.isalpha()][:2]
    words = f"negative={a}", f"positive={b}"
    shared = dict(data=REVIEWS, model=str(book), truncate=True, recipe=ONE, labels=8, held_out=12, progress=False)
    written = "--data", REVIEWS, "--model", book, "--truncate", "--labels", 8, "--held-out", 12, "--recipe.epochs", 1

    class Job:
        name = request.param
        weights = "model.safetensors" if name == "finetune" else "adapter.safetensors"

        def run(self, out, **changes):
            if self.name == "finetune":
                return finetune(FinetuneOptions(out=out, **shared | changes), silent)
            return prompt(PromptOptions(out=out, words=words, **shared | changes), silent)

        def command(self, out):
            more = ("--words", *words) if self.name == "prompt" else ()
            return [self.name, *map(str, (*written, *more, "--no-progress", "--out", out))]

    return Job()


both = pytest.mark.parametrize("job", JOBS, indirect=True)


@both
def test_a_second_run_in_a_fresh_process_is_refused_and_the_first_one_ends_as_if_alone(job, tmp_path, monkeypatch):
    module, answers = JOBS[job.name], []
    fit = module.fit

    def fit_beside_another(*arguments, **more):
        command = [sys.executable, "-m", "minilm", *job.command(tmp_path / "out")]
        answers.append(subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True))
        return fit(*arguments, **more)

    alone = job.run(tmp_path / "alone")
    monkeypatch.setattr(module, "fit", fit_beside_another)
    assert job.run(tmp_path / "out") == alone
    (answer,) = answers
    sentence = (
        f"minilm: another process is training in {tmp_path / 'out'}: wait until it ends, or choose another folder.\n"
    )
    assert answer.returncode == 2 and answer.stderr == sentence
    weights = [read_safetensors(tmp_path / name / job.weights) for name in ("alone", "out")]
    assert same(*weights) and weights[0]
    assert (tmp_path / "out" / "metrics.jsonl").read_text(encoding="utf-8").count("\n") == 1


@both
def test_what_another_process_has_written_meanwhile_is_not_overwritten(job, tmp_path, monkeypatch):
    """It began when the folder was empty, and has ended before this one has read its data."""
    module = JOBS[job.name]
    read = module.load_material

    def read_slowly(*arguments, **more):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "config.json").write_text("{}", encoding="utf-8")
        return read(*arguments, **more)

    monkeypatch.setattr(module, "load_material", read_slowly)
    monkeypatch.setattr(module, "fit", lambda *_, **__: pytest.fail("it is training"))
    with pytest.raises(InputError, match="out holds a model already"):
        job.run(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "training.lock"}


@both
def test_the_folder_is_free_again_however_a_run_ends(job, tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JOBS[job.name], "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            job.run(tmp_path / "out")
    assert not (tmp_path / "out" / job.weights).exists()
    job.run(tmp_path / "out")
    with alone_in(tmp_path / "out"):
        assert (tmp_path / "out" / job.weights).exists()


@pytest.mark.parametrize("job", ["prompt"], indirect=True)
def test_a_prompt_that_keeps_nothing_takes_no_folder(job, monkeypatch):
    monkeypatch.setattr(prompting, "alone_in_new", lambda out: pytest.fail("there is no folder"))
    assert job.run(None)["accuracy"] is not None


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_another_process_has_trained_meanwhile_is_left_as_it_is(resume, tmp_path, monkeypatch):
    """It looked at the folder before the other process ended there, and is still preparing its text."""
    options = tiny.options(tmp_path / "run", steps=4, evaluations=2)
    if resume:
        stop_after(1, options, monkeypatch)
        options = replace(options, resume=True)
    prepare, left = pretraining.prepare_for, []

    def prepare_slowly(*arguments):
        monkeypatch.setattr(pretraining, "prepare_for", prepare)
        pretrain(options, silent)
        left.append(contents(options.out))
        return prepare(*arguments)

    monkeypatch.setattr(pretraining, "prepare_for", prepare_slowly)
    with pytest.raises(
        InputError,
        match=r"run meanwhile: give the command again, with --resume, or choose another --out\.$",
    ):
        pretrain(options, silent)
    assert [contents(options.out)] == left
    assert pretrain(replace(options, resume=True), silent)["step"] == 4


def stop_after(steps: int, options: PretrainOptions, monkeypatch) -> None:
    """A run that is stopped by Ctrl-C after so many steps."""
    made = pretraining.batches_for

    def stopping(*arguments):
        batches = made(*arguments)
        get = type(batches).__getitem__

        class Stopping(type(batches)):
            def __getitem__(self, i):
                if i == steps:
                    signal.raise_signal(signal.SIGINT)
                return get(self, i)

        batches.__class__ = Stopping
        return batches

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "batches_for", stopping)
        with pytest.raises(KeyboardInterrupt):
            pretrain(options, silent)

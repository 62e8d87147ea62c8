"""`minilm search`: a budget, a development part, the same trials for the same seed, a search that goes on, and a command that runs."""

import json
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import tiny
from tiny import DATA, command, silent

from minilm.errors import InputError
from minilm.jobs import search as job
from minilm.jobs.finetune import load_material
from minilm.jobs.labelled_data import set_aside
from minilm.jobs.pretrain import pretrain
from minilm.jobs.search import SearchOptions, search
from minilm.jobs.search_space import command_of, defaults, settings_of, with_settings
from minilm.training.loop import Progress
from minilm.training.state import read_metrics

REVIEWS = str(DATA / "reviews.csv")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    options = tiny.options(tmp_path_factory.mktemp("search"), steps=1, evaluations=1)
    pretrain(options, silent)
    return options.out


def options(book, out, **changes):
    given = dict(data=REVIEWS, model=str(book), out=out, truncate=True, labels=20, held_out=12, trials=3, most_epochs=2)
    return SearchOptions(**given | changes)


def test_it_runs_in_a_process_of_its_own_and_its_command_runs(book, tmp_path):
    words = ["search", "--data", REVIEWS, "--model", str(book), "--out", str(tmp_path / "s"), "--trials", "2"]
    words += ["--labels", "20", "--held-out", "12", "--most-epochs", "2", "--truncate", "--seed", "3"]
    run = [sys.executable, "-m", "minilm", *words]
    found = subprocess.run(run, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert "16 examples to learn from · 4 to measure trials on · 12 held-out examples unseen" in lines
    trials = [line for line in lines if line.startswith("trial ")]
    assert (
        trials[0].startswith("trial 1 of 2: learning rate 0.001, epochs 2, batch 16, dropout 0.1") and len(trials) == 2
    )
    assert lines[-4].startswith("the defaults: accuracy ") and "on 4 development examples" in lines[-4]
    printed = shlex.split(lines[-1])
    assert printed[:2] == ["minilm", "finetune"] and command(*printed[1:]) == 0
    assert "accuracy" in read_metrics(tmp_path / "s" / "best")[-1]
    assert all(json.loads(line) for line in (tmp_path / "s" / "trials.jsonl").read_text(encoding="utf-8").splitlines())


def trial_lines(said):
    """The settings of each trial, without its seconds."""
    return [line.split(" · ")[0].split(": ", 1)[1] for line in said if line.startswith("trial ")]


def test_the_same_seed_gives_the_same_trials_also_after_a_break(book, tmp_path):
    whole, parts, other = [], [], []
    a = search(options(book, tmp_path / "a", trials=4), whole.append)
    search(options(book, tmp_path / "b", trials=2), parts.append)
    b = search(options(book, tmp_path / "b", trials=4), parts.append)
    assert a == b and trial_lines(whole) == trial_lines(parts) and len(set(trial_lines(whole))) == 4
    assert "2 trials of an earlier call in" in "\n".join(parts)
    search(options(book, tmp_path / "c", trials=3, seed=1), other.append)
    assert trial_lines(other)[1:] != trial_lines(whole)[1:3]


def test_a_search_for_other_options_is_not_mixed_in(book, tmp_path):
    search(options(book, tmp_path / "s", trials=1), silent)
    with pytest.raises(InputError, match="holds a search with other options: name another folder with --out"):
        search(options(book, tmp_path / "s", trials=1, labels=19), silent)


def test_trials_learn_from_labels_alone_and_the_test_file_is_never_opened(book, tmp_path, monkeypatch):
    seen = []
    fit = job.fit
    monkeypatch.setattr(
        job, "fit", lambda model, learn, *rest, **how: seen.append(learn) or fit(model, learn, *rest, **how)
    )
    given = options(book, tmp_path / "s", trials=1)
    search(given, silent)
    material = load_material(given.finetuning())
    learn, chosen = set_aside(material.train, 4, 0)
    tokenizer = job.tokenizer_of(given.finetuning())
    rows = [material.task.encode(p.examples, tokenizer, 24, truncate=True).rows for p in (learn, chosen, material.test)]
    assert seen[0].rows == rows[0] and not {*map(tuple, rows[0])} & {*map(tuple, rows[1] + rows[2])}
    said, gone = [], str(tmp_path / "nowhere.csv")
    search(options(book, tmp_path / "t", trials=1, test=gone), said.append)
    assert any(line.endswith(f"{gone} is not read") for line in said) and f"--test {gone}" in said[-1]


def test_a_trial_below_the_median_is_stopped_and_one_whose_loss_explodes_is_passed_over(book, tmp_path, monkeypatch):
    """The scores are given: five trials at 0.5, a bad one that is stopped after its second epoch, one that explodes, a good one."""
    ran, trial = [], [-1]

    def fit(model, learn, recipe, seed, device, bar, on_epoch, augment):
        trial[0] += 1
        if trial[0] == 6:
            raise InputError("the loss is no longer a number at step 3.")
        for epoch in range(1, recipe.epochs + 1):
            ran.append((trial[0], epoch))
            on_epoch(epoch, Progress())

    score = {5: 0.1, 7: 0.9}
    monkeypatch.setattr(job, "fit", fit)
    monkeypatch.setattr(job, "settings_of", lambda *given: settings_of(*given) | {"epochs": 4})
    measure = lambda self, model, examples, device: {"accuracy": score.get(trial[0], 0.5), "macro_f1": 0.5}  # noqa: E731
    task = load_material(options(book, tmp_path / "s").finetuning()).task
    monkeypatch.setattr(type(task), "measure", measure)
    said = []
    search(options(book, tmp_path / "s", trials=8, most_epochs=4), said.append)
    lines = [line for line in said if line.startswith("trial ")]
    assert [epoch for number, epoch in ran if number == 5] == [1, 2] and "stopped after epoch 2 of 4, below" in lines[5]
    assert lines[6].endswith("the loss is no longer a number at step 3.") and lines[7].endswith("the best so far")
    assert all([e for n, e in ran if n == number] == [1, 2, 3, 4] for number in (0, 1, 2, 3, 4, 7))
    assert any("the best of 8 trials: accuracy 0.9" in line for line in said)


def test_a_budget_in_minutes_ends_with_the_epoch_and_what_is_unfinished_does_not_count(book, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(job, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def fit(model, learn, recipe, seed, device, bar, on_epoch, augment):
        for epoch in range(1, recipe.epochs + 1):
            now[0] += 25
            on_epoch(epoch, Progress())

    monkeypatch.setattr(job, "fit", fit)
    said = []
    search(options(book, tmp_path / "s", trials=None, minutes=1.0, most_epochs=2), said.append)
    lines = [line for line in said if line.startswith("trial ")]
    assert lines[0].startswith("trial 1: ") and now[0] == 75
    assert lines[1] == "trial 2: the time was over before its end, so it does not count" and len(lines) == 2
    assert any("the best of 1 trial: " in line for line in said)


class Fixed:
    """A trial that proposes the upper end of everything."""

    def suggest_float(self, name, low, high, **_):
        return high

    def suggest_int(self, name, low, high):
        return high

    def suggest_categorical(self, name, choices):
        return choices[-1]


def test_the_command_has_everything_that_was_tried(book, tmp_path):
    base = options(book, tmp_path / "s", test="t.csv", seed=2, pooling="cls").finetuning()
    settings = settings_of(Fixed(), 1e-3, 9, base)
    assert settings["learning_rate"] == 0.005 and settings["epochs"] == 9 and settings["word_dropout"] == 0.3
    words = command_of(base, settings)
    for part in ("--labels 20", "--test t.csv", "--pooling cls", "--seed 2", "--truncate", "--recipe.batch 32", "--dropout 0.3",
                 "--recipe.label-smoothing 0.2", "--augment word-dropout --augment-share 0.3", "--recipe.layer-decay 1"):  # fmt: skip
        assert part in words, part
    tried = with_settings(base, settings)
    assert tried.recipe.batch == 32 and tried.dropout == 0.3 and tried.little.augment_share == 0.3
    assert not with_settings(base, defaults(1e-3, 9)).little.augment
    tags = SearchOptions(data="tweets", model=str(book), crf=True, trials=1).finetuning()
    assert {"label_smoothing", "word_dropout"}.isdisjoint(settings_of(Fixed(), 1e-3, 9, tags))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("", "a search needs a budget: give --minutes or --trials."),
        ("--minutes 0", "minutes must be above 0, not 0.0."),
        ("--trials 0", "trials must be at least 1, not 0."),
        ("--trials 1 --development 1", "development must be above 0 and below 1, not 1.0."),
        ("--trials 1 --most-epochs 1", "most_epochs must be at least 2, not 1."),
        ("--trials 1 --pooling max", "pooling 'max' is not known: choose mean or cls."),
    ],
)
def test_a_search_without_a_budget_is_one_sentence(arguments, says, capsys):
    assert command("search", "--data", "x", "--model", "y", *arguments.split()) == 2
    assert says in capsys.readouterr().err

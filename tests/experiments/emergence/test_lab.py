"""`minilm emergence`: predictions come before the run, records are kept, and every file is there.  F36."""

import json

import pytest
from PIL import Image
from tiny import command, silent

from minilm.errors import InputError
from minilm.experiments.emergence import in_context, induction, lab, plateau
from minilm.experiments.emergence.lab import EXPERIMENTS, EmergenceOptions, emergence


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Fewer rows: what they teach is not the subject here."""
    for experiment in (induction, in_context):
        monkeypatch.setattr(experiment, "HELD_OUT", 4)
        monkeypatch.setattr(experiment, "BATCH", 4)
    few = plateau.film_reviews(5_000, 10 * plateau.T)
    monkeypatch.setattr(plateau, "film_reviews", lambda: few)


SHORT = dict(seeds=1, share=0.001, workers=1, progress=False)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_F36_a_run_says_what_it_expects_before_it_trains_and_writes_its_files(name, tmp_path, runs):
    said: list[str] = []
    folders = {"run": runs.en, "run_zh": runs.zh, "cache": runs.cache}
    records = emergence(EmergenceOptions(name, **SHORT, **folders, out=tmp_path), said.append)
    experiment, folder = EXPERIMENTS[name], tmp_path / name
    assert [record["arm"] for record in records] == list(experiment.arms)
    assert "Predicted:" in said[0] and all(prediction.says in said[0] for prediction in experiment.predictions)
    assert said[0].startswith(experiment.question) and "What became of the predictions" in said[-2]
    report = (folder / "report.md").read_text(encoding="utf-8")
    verdicts = report.partition("What became of the predictions:")[2]
    assert all(f"\n{number}. " in verdicts for number in range(1, len(experiment.predictions) + 1))
    pictures = [path.name for path in sorted(folder.glob("*.png"))]
    assert pictures and all(
        f"]({picture})" in report and Image.open(folder / picture).size[0] > 300 for picture in pictures
    )
    assert json.loads((folder / "results.json").read_text(encoding="utf-8"))["records"] == records


def test_F36_what_is_there_is_not_trained_again(tmp_path, monkeypatch):
    options = EmergenceOptions(**SHORT, out=tmp_path)
    first = emergence(options, silent)
    (tmp_path / "induction" / "records" / "one-layer-0.json").unlink()
    trained = []
    original = EXPERIMENTS["induction"]

    def fit(arm, seed, share, bar):
        trained.append((arm, seed))
        return original.fit(arm, seed, share, bar)

    counting = type(original)(**{**vars(original), "fit": fit})
    monkeypatch.setitem(lab.EXPERIMENTS, "induction", counting)
    again = emergence(options, silent)
    assert trained == [("one layer", 0)]
    assert [{**r, "seconds": 0} for r in again] == [{**r, "seconds": 0} for r in first]
    trained.clear()
    emergence(EmergenceOptions(**SHORT | {"share": 0.002}, out=tmp_path), silent)
    assert len(trained) == len(original.arms)  # records of another share are not mixed in
    trained.clear()
    emergence(EmergenceOptions(**SHORT | {"share": 0.002}, out=tmp_path, again=True), silent)
    assert len(trained) == len(original.arms)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"share": 0}, "share must be above 0"),
        ({"share": float("nan")}, "share must be above 0"),
        ({"seeds": 0}, "seeds"),
    ],
)
def test_F36_bad_options_get_one_sentence(changes, words):
    with pytest.raises(InputError, match=words):
        EmergenceOptions(**changes)


def test_F36_the_command_line_says_what_is_wrong(capsys):
    assert command("emergence", "induction", "--share", "0") == 2
    said = capsys.readouterr().err
    assert said.startswith("minilm: share must be above 0") and said.count("\n") == 1


def test_F36_a_record_with_all_its_measurements_can_be_read_again(tmp_path):
    options = EmergenceOptions(
        **SHORT | {"share": 0.034}, out=tmp_path
    )  # 41 steps of two layers, so all 37 measurements
    first = emergence(options, silent)
    assert len(first[0]["curve"]) == 37 and len(first[0]["curve"][0]["film"]) == 2
    assert emergence(options, silent) == first

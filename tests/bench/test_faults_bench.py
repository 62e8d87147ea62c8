import json

import numpy as np
import pytest

from minilm.bench import faults
from minilm.bench.options import BenchOptions
from minilm.bench.run import bench
from minilm.errors import InputError


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing happened to."""
    here = tmp_path_factory.mktemp("faults")
    faults.write_text_of_numbers(here / "numbers.txt", 0)
    faults.run_to_the_end(here, here / "straight")
    return here, here / "straight"


def test_a_campaign_of_each_kind_finds_nothing(tmp_path):
    said = []
    options = BenchOptions(
        "faults", out=tmp_path, kills=1, corruptions=40, together=2, threads=1, progress=False, seed=3
    )
    found = bench(options, say=said.append)
    assert found["kills"]["kills"] == 1 and found["corruptions"]["noticed"] == 40
    assert found["together"] == {"runs": 2, "prepared": 1, "findings": []}
    assert [found[name]["findings"] for name in ("kills", "corruptions", "together")] == [[], [], []]
    assert sum("nothing found" in line for line in said) == 3


def test_what_is_not_noticed_is_found(straight, monkeypatch):
    """If nothing is checked, the campaign says so."""
    here, run = straight
    monkeypatch.setattr(faults, "open_pretraining", lambda copy: None)
    monkeypatch.setattr(faults, "load_state", lambda copy: None)
    found = faults.damaged(here / "a", run, 30, np.random.default_rng(1), bar=False)
    assert len(found["findings"]) + found["noticed"] == 30 and found["noticed"] <= 2
    assert all("was not noticed" in line for line in found["findings"])


def test_an_error_that_names_another_file_is_found(straight, monkeypatch):
    here, run = straight

    def refuse(copy):
        raise InputError("something is wrong")

    monkeypatch.setattr(faults, "open_pretraining", refuse)
    monkeypatch.setattr(faults, "load_state", refuse)
    found = faults.damaged(here / "b", run, 5, np.random.default_rng(2), bar=False)
    assert found["noticed"] == 0 and all("names another file" in line for line in found["findings"])


def test_a_run_that_ended_in_something_else_is_found(straight):
    here, run = straight
    assert faults.differences(run, run) == []
    other = here / "other"
    faults.shutil.copytree(run, other)
    path = other / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    last = json.loads(lines[-1])
    path.write_text("\n".join([*lines, json.dumps(last | {"step": last["step"] + 1})]) + "\n", encoding="utf-8")
    assert faults.differences(other, run) == ["other: the metrics differ"]
    (other / "model.safetensors").unlink()
    assert len(faults.differences(other, run)) == 1


@pytest.mark.parametrize("name", ["kills", "corruptions", "together"])
def test_a_campaign_can_be_left_out_but_not_be_negative(name):
    BenchOptions("faults", **{name: 0})
    with pytest.raises(InputError, match=f"{name} must be from 0"):
        BenchOptions("faults", **{name: -1})

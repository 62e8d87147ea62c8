import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.files.atomic import write_json, write_text
from minilm.files.tensors import read_safetensors, write_tensors
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.pretrained.weights import load_weights, weights_of
from minilm.training import state
from minilm.training.state import VERSION, add_metrics, go_back, load_state, read_metrics, save_state, start_metrics

TOP = Path(__file__).parents[2]
TENSORS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([7, 8], dtype=torch.int64)}


class Killed(BaseException):
    """Simulates a process that is killed at exactly that line."""


def killed(*_, **__):
    raise Killed


def assert_state(run, step):
    tensors, facts = load_state(run)
    assert facts.items() >= {"version": VERSION, "step": step}.items() and tensors["w"].item() == step


def save(run, step):
    save_state(run, step, {"w": torch.tensor(float(step))}, {"step": step})


# ---- one file


def test_what_is_read_is_what_was_written(tmp_path):
    write_text(tmp_path / "t.txt", "北京, café\n")
    write_json(tmp_path / "j.json", {"b": 1, "a": ["北", None, 0.1]})
    write_tensors(
        tmp_path / "w.safetensors", TENSORS | {"turned": TENSORS["a"].T, "grad": torch.ones(2).requires_grad_()}
    )
    assert (tmp_path / "t.txt").read_bytes() == "北京, café\n".encode()
    assert json.loads((tmp_path / "j.json").read_text(encoding="utf-8")) == {"b": 1, "a": ["北", None, 0.1]}
    read = read_safetensors(tmp_path / "w.safetensors")
    assert torch.equal(read["turned"], TENSORS["a"].T) and torch.equal(read["b"], TENSORS["b"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["j.json", "t.txt", "w.safetensors"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Killed()])
def test_a_write_that_breaks_off_leaves_the_old_file(error, tmp_path, monkeypatch):
    write_text(tmp_path / "t.txt", "old")
    write_tensors(tmp_path / "w.safetensors", TENSORS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(self, data):
        with open(self, "wb") as file:
            file.write(data[: len(data) // 2])
        raise error

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(type(error)):
        write_text(tmp_path / "t.txt", "new and longer")
    with pytest.raises(type(error)):
        write_tensors(tmp_path / "w.safetensors", {"c": torch.zeros(100)})
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    if isinstance(error, OSError):  # the disk space is freed
        assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.undo()
    write_text(tmp_path / "t.txt", "new")
    assert (tmp_path / "t.txt").read_text(encoding="utf-8") == "new"


def test_a_file_changes_in_one_stroke(tmp_path, monkeypatch):
    """Until the very last call, the complete old file remains in place."""
    write_text(tmp_path / "t.txt", "old")
    seen = []

    def replace(source, target):
        seen.append((Path(source).read_text(encoding="utf-8"), Path(target).read_text(encoding="utf-8")))
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(os, "replace", replace)
    write_text(tmp_path / "t.txt", "new")
    assert seen == [("new", "old")]


# ---- the state of a run


def test_a_state_comes_back_with_the_one_before_it_and_older_ones_go(tmp_path):
    assert load_state(tmp_path) is None
    for step in (10, 20, 30):
        save(tmp_path, step)
        assert_state(tmp_path, step)
        there = [path.name for path in sorted((tmp_path / "training_state").glob("step-*"))]
        assert there == [f"step-{number:08d}" for number in (step - 10, step) if number]


@pytest.mark.parametrize("where", ["write_tensors", "write_json", "seal"])
@pytest.mark.parametrize("step", [10, 20])
def test_killed_while_saving_the_last_good_state_is_kept(where, step, tmp_path, monkeypatch):
    """This also holds if the step is the same as the last saved one."""
    save(tmp_path, 10)
    monkeypatch.setattr(state, where, killed)
    with pytest.raises(Killed):
        save(tmp_path, step)
    assert_state(tmp_path, 10)
    monkeypatch.undo()
    for again in (20, 20, 30):
        save(tmp_path, again)
        assert_state(tmp_path, again)
    assert len(list((tmp_path / "training_state").iterdir())) == 3  # two states, and latest.json


def test_killed_before_the_old_state_is_deleted_the_new_one_counts(tmp_path, monkeypatch):
    save(tmp_path, 10)
    remove = shutil.rmtree
    monkeypatch.setattr(
        shutil, "rmtree", lambda path, **k: killed() if Path(path).name == "step-00000010" else remove(path, **k)
    )
    save(tmp_path, 20)
    with pytest.raises(Killed):
        save(tmp_path, 30)
    assert_state(tmp_path, 30)


ENDLESS = """
import sys, torch
from pathlib import Path
from minilm.training.state import save_state
for step in range(10**9):
    save_state(Path(sys.argv[1]), step, {"w": torch.full((20_000,), float(step))}, {"step": step})
    print(step, flush=True)
"""


def test_killed_by_force_in_the_midst_of_many_saves(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path], cwd=TOP, stdout=subprocess.PIPE)
    while int(process.stdout.readline()) < 8:
        pass
    process.kill()
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    tensors, facts = load_state(tmp_path)
    assert facts["step"] >= int(rest[-1] if rest else 8)
    assert (tensors["w"] == facts["step"]).all()


# ---- damage


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"folder": "step-00000099"}', '{"folder": 5}', '{"folder": "../x"}', "5"]
)
def test_a_damaged_name_of_the_last_state_is_named_and_a_whole_state_is_offered(text, tmp_path):
    save(tmp_path, 10)
    (tmp_path / "training_state" / "latest.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"latest\.json is damaged.*The state of step 10 is whole: add --resume-at 10"):
        load_state(tmp_path)
    assert load_state(tmp_path, at=10)[0]["w"].item() == 10


@pytest.mark.parametrize("name", ["state.safetensors", "facts.json", "checksums.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "swapped"])
def test_damage_to_the_last_state_is_noticed_and_the_one_before_it_offered(name, damage, tmp_path):
    for step in (10, 20):
        add_metrics(tmp_path, step=step, loss=1 / step)
        save(tmp_path, step)
    path = tmp_path / "training_state" / "step-00000020" / name
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "gone":
        path.unlink()
    elif damage == "swapped":  # by the file of the other state, which is whole in itself
        path.write_bytes((path.parents[1] / "step-00000010" / name).read_bytes())
    else:
        changed = content[:middle] + (bytes([content[middle] ^ 1]) + content[middle + 1 :]) * (damage == "flip")
        path.write_bytes(changed)
    with pytest.raises(InputError, match=r"is whole: add --resume-at 10 to go on from it") as refused:
        load_state(tmp_path)
    assert name in str(refused.value) or (damage, name) == (
        "swapped",
        "checksums.json",
    )  # then it does not fit its files
    tensors, facts = load_state(tmp_path, at=10)
    assert tensors["w"].item() == 10 and facts["step"] == 10


def test_going_back_to_a_state_makes_it_the_last_one_and_keeps_it(tmp_path):
    for step in (10, 20):
        add_metrics(tmp_path, step=step, loss=1 / step)
        save(tmp_path, step)
    (tmp_path / "training_state" / "latest.json").write_text("{", encoding="utf-8")
    go_back(tmp_path, 10)
    start_metrics(tmp_path, 10)
    assert_state(tmp_path, 10)  # a run that is killed here goes on from it
    add_metrics(tmp_path, step=20, loss=0.5)
    save(tmp_path, 20)
    assert_state(tmp_path, 20)
    assert load_state(tmp_path, at=10)[0]["w"].item() == 10  # rather than the abandoned state of step 20


@pytest.mark.parametrize("broken", ["step-00000020", "step-00000020-again"])
def test_of_two_states_of_a_step_the_whole_one_is_read(broken, tmp_path):
    for step in (20, 20):
        save(tmp_path, step)
    (tmp_path / "training_state" / broken / "state.safetensors").write_bytes(b"")
    assert load_state(tmp_path, at=20)[0]["w"].item() == 20


def test_a_missing_name_of_the_last_state_is_noticed(tmp_path):
    for step in (10, 20):
        save(tmp_path, step)
    (tmp_path / "training_state" / "latest.json").unlink()
    with pytest.raises(InputError, match=r"latest\.json is missing.*add --resume-at 20"):
        load_state(tmp_path)


def test_where_no_state_is_whole_this_is_said(tmp_path):
    save(tmp_path, 10)
    (tmp_path / "training_state" / "step-00000010" / "state.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="No other state is whole: begin again in another --out"):
        load_state(tmp_path)


def test_changed_metrics_are_noticed(tmp_path):
    add_metrics(tmp_path, step=10, loss=0.5)
    save(tmp_path, 10)
    add_metrics(tmp_path, step=20, loss=0.4)  # a run that is killed here is whole
    assert load_state(tmp_path)[1]["step"] == 10
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace("0.5", "0.3"), encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged: its lines up to step 10"):
        load_state(tmp_path)


def test_a_step_without_a_state_is_refused(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, step)
    with pytest.raises(InputError, match=r"holds no complete state of step 25 \(there is 20 and 30\)"):
        load_state(tmp_path, at=25)


@pytest.mark.parametrize(("version", "found"), [({}, 1), ({"version": 1}, 1), ({"version": VERSION + 1}, VERSION + 1)])
def test_a_state_of_another_version_is_refused_in_one_sentence(version, found, tmp_path):
    save(tmp_path, 10)
    folder = tmp_path / "training_state" / "step-00000010"
    (folder / "checksums.json").unlink()  # older editions wrote none
    write_json(folder / "facts.json", version | {"step": 10})
    with pytest.raises(InputError) as refused:
        load_state(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path} was written by another edition of minilm (its state has version {found}, and this edition reads "
        f"version {VERSION}): begin again in another --out."
    )


# ---- metrics


def test_metrics_of_a_resumed_run_end_where_it_was_saved(tmp_path):
    run = tmp_path / "new" / "run"
    start_metrics(run)
    for step in (0, 10, 20, 30):
        add_metrics(run, step=step, loss=1 / (step + 1))
    before = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    start_metrics(run, step=20)
    assert (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines() == before[:3]
    assert read_metrics(run)[-1] == {"step": 20, "loss": 1 / 21}
    start_metrics(run)
    assert read_metrics(run) == []


def test_a_line_that_was_cut_in_half_is_left_out(tmp_path):
    start_metrics(tmp_path)
    add_metrics(tmp_path, step=10, loss=math.inf)
    with open(tmp_path / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 20, "lo')
    assert read_metrics(tmp_path) == [{"step": 10, "loss": math.inf}]
    start_metrics(tmp_path, step=20)
    add_metrics(tmp_path, step=20, loss=1.0)
    assert [line["step"] for line in read_metrics(tmp_path)] == [10, 20]


@pytest.mark.parametrize(
    "line", [b"{\n", b"\xff\n", b'{"loss": 1.0}\n', b'{"step": "9"}\n', b"[]\n", b"[" * 200_000 + b"\n"]
)
def test_a_broken_line_of_the_metrics_is_named(line, tmp_path):
    start_metrics(tmp_path)
    add_metrics(tmp_path, step=10, loss=1.0)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + line + b'{"step": 20}\n')
    before = path.read_bytes()
    with pytest.raises(InputError, match="metrics.jsonl, line 2 is broken.*begin again in another --out"):
        start_metrics(tmp_path, step=20)
    assert path.read_bytes() == before


def test_without_a_file_there_are_no_metrics(tmp_path):
    assert read_metrics(tmp_path) == []


# ---- weights


def test_weights_are_parameters_and_buffers_a_shared_one_once():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 3), nn.Linear(2, 3)
            self.b.weight = self.a.weight
            self.register_buffer("count", torch.tensor(3))

    assert list(weights_of(Model())) == ["a.weight", "a.bias", "b.bias", "count"]
    bert = BertForPretraining(TransformerConfig(vocab_size=7, width=4, heads=2, feed_forward=3, layers=1, max_length=5))
    assert not any("decoder" in name for name in weights_of(bert))


def test_loading_copies_and_casts():
    model, weights = nn.Linear(2, 3), {"weight": torch.ones(3, 2, dtype=torch.float64), "bias": torch.zeros(3)}
    assert load_weights(model, weights, "here") == []
    weights["weight"].zero_()
    assert torch.equal(model.weight, torch.ones(3, 2)) and model.weight.dtype == torch.float32


def test_only_what_may_lack_may_lack():
    model = nn.ModuleDict({"head": nn.Linear(2, 3), "bert": nn.Linear(2, 2)})
    own = model["head"].weight.detach().clone()
    weights = {"bert.weight": torch.ones(2, 2), "bert.bias": torch.ones(2)}
    assert load_weights(model, weights, "here", may_lack=("head.",)) == ["head.weight", "head.bias"]
    assert torch.equal(model["head"].weight, own) and torch.equal(model["bert"].weight, torch.ones(2, 2))
    with pytest.raises(InputError, match="the weights of here do not fit: missing head.weight, head.bias"):
        load_weights(model, weights, "here")
    del weights["bert.bias"]
    with pytest.raises(InputError, match="missing bert.bias"):
        load_weights(model, weights, "here", may_lack=("head.",))

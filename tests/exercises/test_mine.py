"""`--mine`: training really uses the learner's functions, and afterwards everything is restored."""

import ast
import copy
import operator

import pytest
import tiny
import torch

from minilm import cli
from minilm.errors import InputError
from minilm.exercises import folder as files, mine
from minilm.exercises.catalogue import find, load
from minilm.exercises.progress import Progress, checksum
from minilm.exercises.stub import definition, parts, source_of
from minilm.experiments import ladder
from minilm.layers import attention, normalization
from minilm.training import losses, optimizer
from minilm.training.state import read_metrics


def pasted(name):
    """A learner's file that contains the library's own code."""
    module = load(name).target.rpartition(".")[0]
    simple = [node for node in source_of(module)[1].body if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)]
    written = sorted((copy.deepcopy(definition(part)[1]) for part in parts(load(name))), key=lambda node: node.lineno)
    for node in written:
        node.body = [line for line in node.body if "check" not in ast.unparse(line).split("(")[0]]
    code = [ast.unparse(node) for node in (*simple, *written)]
    return "\n\n".join(code) + "\n"


@pytest.fixture
def folder(tmp_path):
    """A function that writes files into the learner's folder and marks them as passed."""
    files.start(tmp_path / "mine", [find("softmax")])

    def write(**texts):
        for name, text in texts.items():
            progress = Progress(tmp_path / "mine")
            path = progress.file(find(name))
            path.write_text(text, encoding="utf-8")
            progress.of(name).passed = checksum(path)
            progress.save()
        return tmp_path / "mine"

    return write


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder where the text is prepared once for all tests."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def alone(shared):
    """The loss after training with the library's own code."""
    return final_loss(shared, "alone")


def final_loss(tmp_path, out, *more):
    assert cli.main(["pretrain", *tiny.arguments(tmp_path, out=tmp_path / out, steps=3), *more]) == 0
    return read_metrics(tmp_path / out)[-1]["mlm_loss"]


def test_with_the_librarys_own_code_pasted_the_loss_is_the_same(folder, shared, alone, capsys):
    names = [name for name in mine.TAKES_PART if name != "label_smoothing"]
    here = folder(**{name: pasted(name) for name in names})
    for name in names:
        assert files.check_in(here, name).passed, name
    before = [attention.attention, attention.fused_attention, losses.cross_entropy, normalization.LayerNorm.forward]
    capsys.readouterr()
    assert final_loss(shared, "same", f"--mine={here}") == pytest.approx(alone, abs=1e-4)
    said = capsys.readouterr().out
    assert "training with your own code: cross_entropy, layer_norm, attention, masking, adamw, clipping\n" in said
    assert "with the library's code, because yours has not passed yet: label_smoothing\n" in said
    counts = [
        int(part.rpartition(" ")[2].replace(",", "")) for part in said.split("calls of your code: ")[1].split(", ")
    ]
    assert len(counts) == len(names) and min(counts) > 0
    after = [attention.attention, attention.fused_attention, losses.cross_entropy, normalization.LayerNorm.forward]
    assert before == after and "update" in vars(optimizer.AdamW)


def test_another_function_gives_another_loss(folder, shared, alone):
    flat = "def layer_norm(x, gain, bias, epsilon):\n    return 0 * x + bias\n"
    assert abs(final_loss(shared, "other", f"--mine={folder(layer_norm=flat)}") - alone) > 1e-3


def test_a_pair_will_do_for_a_loss_and_the_later_exercise_stands_in_for_the_earlier(folder):
    code = "def cross_entropy(logits, labels, label_smoothing=0.0):\n    return logits.sum() * 0 + {}, labels.numel()\n"
    here = folder(cross_entropy=code.format(3), label_smoothing=code.format(28))
    with mine.mine(here, lambda line: None) as calls:
        found = losses.cross_entropy(torch.zeros(2, 5), torch.tensor([0, 1]))
    assert isinstance(found, losses.Loss) and found.value == 28 and calls == {"label_smoothing": 1}


def test_the_ladders_other_processes_train_with_them_too(folder):
    here = folder(layer_norm="def layer_norm(x, gain, bias, epsilon):\n    return 0 * x + 7\n")
    layer, x = normalization.LayerNorm(2), torch.tensor([[1.0, 3.0]])
    with mine.mine(here, lambda line: None) as calls, ladder.pool_of(2) as submit:
        assert submit(operator.call, layer, x)().tolist() == [[7, 7]]
        assert calls == {"layer_norm": 1}
        (here / "e07_layer_norm.py").write_text("", encoding="utf-8")
        with pytest.raises(InputError, match="layer_norm changed in .* during the training"):
            submit(operator.call, layer, x)()
    assert ladder.pool_of.__module__ == "minilm.experiments.ladder" and torch.allclose(
        layer(x), torch.tensor([[-1.0, 1.0]])
    )


def test_what_changed_since_it_passed_does_not_take_part(folder):
    here = folder(layer_norm=pasted("layer_norm"))
    (here / "e07_layer_norm.py").write_text(pasted("layer_norm") + "\n# later\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"none of .*layer_norm.* has passed yet"):
        mine.passed(here)


def test_bad_input_is_one_sentence(folder, tmp_path, capsys):
    assert cli.main(["pretrain", *tiny.arguments(tmp_path), f"--mine={tmp_path / 'nowhere'}"]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert cli.main(["quickstart", "--mine", str(folder())]) == 2
    assert "none of cross_entropy, layer_norm" in capsys.readouterr().err
    assert cli.main(["predict", "--mine"]) == 2
    capsys.readouterr()
    late = "def layer_norm(x, gain, bias, epsilon):\n    raise ZeroDivisionError('oh')\n"
    assert cli.main(["pretrain", *tiny.arguments(tmp_path), f"--mine={folder(layer_norm=late)}"]) == 2
    assert (
        "your layer_norm (e07_layer_norm.py) failed during the training: ZeroDivisionError: oh"
        in capsys.readouterr().err
    )


def test_help_says_so(capsys):
    assert cli.main(["pretrain", "--help"]) == 0
    assert "--mine FOLDER" in capsys.readouterr().out

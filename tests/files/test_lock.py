import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minilm.errors import InputError
from minilm.files.lock import held, in_turn

TOP = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from minilm.files.lock import held
with held(Path(sys.argv[1]), "taken"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds tmp_path/in/lock until its input ends."""
    path = tmp_path / "in" / "lock"
    command = [sys.executable, "-c", HOLDER, path]
    process = subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
    assert process.stdout.readline() == "held\n"
    yield process, path
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_what_another_process_holds_is_refused(holder):
    _, path = holder
    with pytest.raises(InputError, match="^somebody else is here$"), held(path, "somebody else is here"):
        raise AssertionError


@pytest.mark.parametrize("ending", [signal.SIGKILL, None])
def test_when_its_holder_ends_however_it_ends_a_lock_is_free(ending, holder):
    process, path = holder
    if ending is None:
        process.stdin.close()
    else:
        process.send_signal(ending)
    process.wait()
    for _ in range(2):
        with held(path, "taken"):
            pass


def test_a_lock_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), held(tmp_path / "lock", "taken"):
        raise ZeroDivisionError
    with held(tmp_path / "lock", "taken"):
        pass


def test_in_turn_waits_and_says_so_once(holder):
    process, path = holder
    said = []

    def say():
        said.append("waiting")
        process.stdin.close()  # the other one ends when we have begun to wait

    with in_turn(path, say):
        assert process.wait() == 0
    with in_turn(path, say):
        pass
    assert said == ["waiting"]

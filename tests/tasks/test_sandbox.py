"""The walls of the sandbox, as far as this system has them."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from spiritsafe.tasks import sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the sandbox needs POSIX")


def test_unit_tests_of_three_kinds() -> None:
    case = "import unittest\nclass T(unittest.TestCase):\n    def test_f(self): self.assertEqual(f(1), {})"
    assert sandbox.run_tests("def f(x): return x", "assert f(1) == 1", timeout_s=5) is None
    assert (
        sandbox.run_tests("def f(x): return x", "def test_f(): assert f(1) == 2", timeout_s=5)
        == "wrong_answer"
    )
    assert sandbox.run_tests("def f(x): return x", case.format(1), timeout_s=5) is None
    assert sandbox.run_tests("def f(x): return x", case.format(2), timeout_s=5) == "wrong_answer"
    assert sandbox.run_tests("def f(x): return x", "assert (", timeout_s=5) == "bad_reference"
    assert sandbox.run_tests("def f(x): return x", "", timeout_s=5) == "bad_reference"


def test_endless_code_is_stopped_with_its_children() -> None:
    start = time.monotonic()
    assert (
        sandbox.run_tests("import time\nwhile True: time.sleep(1)", "assert True", timeout_s=0.5) == "timeout"
    )
    assert sandbox.run_tests("while True: pass", "assert True", timeout_s=0.5) == "timeout"
    assert time.monotonic() - start < 5


def test_no_environment_and_no_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os, sys\nprint('loud'); print('loud', file=sys.stderr)\n"
    code += "names = set(os.environ) - {'LC_CTYPE'}"  # which Python sets itself
    assert sandbox.run_tests(code, "assert not names", timeout_s=5) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not sandbox.isolation(), reason="this system permits no namespaces")
def test_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)"
        assert sandbox.run_tests(code, "assert True", timeout_s=5) == "code_error"


def has_landlock() -> bool:
    code = "import ctypes\nversion = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1)"
    return sys.platform == "linux" and sandbox.run_tests(code, "assert version >= 1", timeout_s=5) is None


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_files_of_the_user_are_shut_off(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    os.chmod(tmp_path, 0o777)
    read = f"text = open({str(tmp_path / 'key')!r}).read()"
    write = f"open({str(tmp_path / 'new')!r}, 'w').write('x')"
    remove = f"import os; os.remove({str(tmp_path / 'key')!r})"
    for code in (read, write, remove):
        assert sandbox.run_tests(code, "assert True", timeout_s=5) == "code_error"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    own = "open('own', 'w').write('x')\ntext = open('own').read()"
    assert sandbox.run_tests(own, "assert text == 'x'", timeout_s=5) is None


def test_math_worker_survives_a_crash() -> None:
    pytest.importorskip("math_verify")
    worker = sandbox.MathWorker()
    try:
        assert worker("7", "it is 7") == "equal"
        assert worker._child is not None
        worker._child.kill()
        worker._child.wait()
        assert worker("7", "it is 7") == "crashed"
        assert worker("7", "it is 7") == "equal"
    finally:
        worker.close()
        worker.close()

"""teacher.launch: a server program that is started, kept up, and gone when it has to be."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spiritsafe.collect.generate import collect
from spiritsafe.costs.prices import FREE
from spiritsafe.errors import RecipeError, TeacherError, UsageError
from spiritsafe.recipe import Teacher
from spiritsafe.recipe_file import parse
from spiritsafe.records import Request, Sampling, teacher_key
from spiritsafe.store.ledger import Ledger, Totals
from spiritsafe.talk import Talk
from spiritsafe.teachers import server as server_module
from spiritsafe.teachers.api import ApiSampler
from spiritsafe.teachers.connect import connect
from spiritsafe.teachers.launch import LaunchedSampler, teacher_server
from spiritsafe.teachers.server import TeacherServer

PROGRAM = Path(__file__).parent.parent / "fakes" / "launched_server.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(port: int, state: Path, *options: str) -> str:
    return shlex.join([sys.executable, str(PROGRAM), "--port", str(port), "--state", str(state), *options])


def settings(port: int, state: Path, *options: str, **keys: object) -> Teacher:
    model = f"http://127.0.0.1:{port}/v1#m"
    return Teacher.model_validate({"model": model, "launch": command(port, state, *options), **keys})


def server_of(tmp_path: Path, teacher: Teacher) -> TeacherServer:
    server = teacher_server(teacher, tmp_path / "logs" / "teacher-server.log", Talk(quiet=True))
    assert server is not None
    return server


async def ask(server: TeacherServer, ledger_path: Path, n: int) -> Totals:
    api = connect(server.settings.model, settings=server.settings)
    assert isinstance(api, ApiSampler)
    sampler = LaunchedSampler(api, server)
    requests = [
        Request(
            prompt_id=str(i),
            messages=({"role": "user", "content": "x" * i},),
            teacher=teacher_key(api.teacher),
            sampling=Sampling(max_tokens=8),
        )
        for i in range(n)
    ]
    try:
        with Ledger(ledger_path) as ledger:
            return await collect(requests, sampler, ledger, purpose="train", price=FREE, max_attempts=6)
    finally:
        await sampler.close()


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    try:
        os.kill(pid, 0)
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def gone_soon(pid: int) -> bool:
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not is_running(pid)


def pid_of(path: Path) -> int:
    end = time.monotonic() + 10
    while not (path.exists() and path.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    return int(path.read_text())


def test_started_once_for_two_stages_and_gone_with_its_helpers(tmp_path: Path) -> None:
    state = tmp_path / "state"
    teacher = settings(
        free_port(), state, "--slow", "0.6", "--helper", launch_env={"FAKE_NOTE": "from the recipe"}
    )
    with server_of(tmp_path, teacher) as server:
        assert not server.is_up()
        assert asyncio.run(ask(server, tmp_path / "a.sqlite", 5)).settled == 5
        assert asyncio.run(ask(server, tmp_path / "b.sqlite", 7)).settled == 7
        assert len(list(state.glob("start-*"))) == 1
        pids = [pid_of(state / "start-0"), pid_of(state / "helper")]
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))
    assert not server.is_up()
    assert "loading from the recipe" in server.log.read_text()


def test_nothing_to_ask_starts_nothing(tmp_path: Path) -> None:
    teacher = settings(free_port(), tmp_path / "state")
    with server_of(tmp_path, teacher) as server:
        asyncio.run(ask(server, tmp_path / "a.sqlite", 3))
    with server_of(tmp_path, teacher) as server:
        assert asyncio.run(ask(server, tmp_path / "a.sqlite", 3)).settled == 3
    assert len(list((tmp_path / "state").glob("start-*"))) == 1


def test_a_server_without_health_is_ready_when_it_lists_models(tmp_path: Path) -> None:
    with server_of(tmp_path, settings(free_port(), tmp_path / "state", "--no-health")) as server:
        assert asyncio.run(ask(server, tmp_path / "a.sqlite", 2)).settled == 2


def test_a_crash_while_starting_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with server_of(tmp_path, settings(free_port(), tmp_path / "state", "--crash-at-start")) as server:
        with pytest.raises(TeacherError) as caught:
            asyncio.run(ask(server, tmp_path / "a.sqlite", 2))
        assert "exit status 3" in caught.value.message
        assert caught.value.message.endswith("\nOutOfMemoryError: CUDA out of memory")  # without its colours
        assert str(server.log) in str(caught.value.hint)


def test_a_server_that_never_gets_ready_is_given_up_and_ended(tmp_path: Path) -> None:
    teacher = settings(free_port(), tmp_path / "state", "--slow", "60", launch_timeout_s=1.0)
    with server_of(tmp_path, teacher) as server, pytest.raises(TeacherError, match="not ready after 1 s"):
        asyncio.run(ask(server, tmp_path / "a.sqlite", 2))
    assert not is_running(pid_of(tmp_path / "state" / "start-0"))


def test_a_crash_while_asked_is_one_restart_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    state = tmp_path / "state"
    teacher = settings(free_port(), state, "--crash-after", "10", max_concurrency=2)
    with server_of(tmp_path, teacher) as server:
        totals = asyncio.run(ask(server, tmp_path / "a.sqlite", 25))
    assert (totals.settled, totals.failed) == (25, 0)
    assert len(list(state.glob("start-*"))) == 2
    # In flight at the crash: at most one answered request per connection was answered again.
    assert 25 <= len((state / "served").read_text().split()) <= 27


def test_a_server_that_keeps_crashing_is_given_up_and_what_is_settled_is_kept(tmp_path: Path) -> None:
    state = tmp_path / "state"
    teacher = settings(free_port(), state, "--crash-after", "4", "--crashes", "99", max_concurrency=1)
    gives_up = pytest.raises(TeacherError, match="has ended 4 times while it was asked")
    with server_of(tmp_path, teacher) as server, gives_up:
        asyncio.run(ask(server, tmp_path / "a.sqlite", 40))
    assert len(list(state.glob("start-*"))) == 1 + server_module.RESTARTS
    with Ledger(tmp_path / "a.sqlite") as ledger:
        assert ledger.totals("train").settled == 16


def test_sigterm_ignored_is_followed_by_sigkill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GRACE_S", 0.5)
    with server_of(tmp_path, settings(free_port(), tmp_path / "state", "--ignore-sigterm")) as server:
        asyncio.run(ask(server, tmp_path / "a.sqlite", 1))
        began = time.monotonic()
    assert 0.5 <= time.monotonic() - began < 4
    assert not is_running(pid_of(tmp_path / "state" / "start-0"))


def test_another_model_than_wanted_is_named_and_ended(tmp_path: Path) -> None:
    server = server_of(tmp_path, settings(free_port(), tmp_path / "state", "--model", "other"))
    with server, pytest.raises(TeacherError, match="does not serve the model 'm'") as caught:
        asyncio.run(ask(server, tmp_path / "a.sqlite", 1))
    assert caught.value.hint == "it serves: other"
    assert not is_running(pid_of(tmp_path / "state" / "start-0"))


@pytest.fixture
def running_server(tmp_path):
    """A server that somebody else has started."""
    processes = []

    def start(port: int, *options: str) -> None:
        processes.append(subprocess.Popen(shlex.split(command(port, tmp_path / "theirs", *options))))
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_port_that_serves_another_model_is_refused_by_its_number(tmp_path: Path, running_server) -> None:
    port = free_port()
    running_server(port, "--model", "other")
    refuses = pytest.raises(TeacherError, match=f"port {port} is in use by another program")
    with server_of(tmp_path, settings(port, tmp_path / "state")) as server, refuses as caught:
        asyncio.run(ask(server, tmp_path / "a.sqlite", 1))
    assert "it serves other" in caught.value.message
    assert not (tmp_path / "state").exists()


def test_a_port_that_is_no_model_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "ANSWER_S", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = server_of(tmp_path, settings(listener.getsockname()[1], tmp_path / "state"))
        with server, pytest.raises(TeacherError, match="it does not list models"):
            asyncio.run(ask(server, tmp_path / "a.sqlite", 1))


def test_a_port_that_serves_the_model_is_used_and_left_running(tmp_path: Path, running_server) -> None:
    port = free_port()
    running_server(port)
    with server_of(tmp_path, settings(port, tmp_path / "state")) as server:
        assert asyncio.run(ask(server, tmp_path / "a.sqlite", 3)).settled == 3
        assert server.is_up()
    assert not (tmp_path / "state").exists()
    assert is_running(pid_of(tmp_path / "theirs" / "start-0"))


OWNER = """
import asyncio, sys
from pathlib import Path
from spiritsafe.recipe import Teacher
from spiritsafe.talk import Talk
from spiritsafe.teachers.launch import teacher_server
teacher = Teacher(model=sys.argv[1], launch=sys.argv[2])
with teacher_server(teacher, Path(sys.argv[3]), Talk(quiet=True)) as server:
    asyncio.run(server.start())
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_with_us_however_we_end(tmp_path: Path, number: signal.Signals) -> None:
    teacher, state = settings(free_port(), tmp_path / "state", "--helper"), tmp_path / "state"
    assert teacher.launch is not None
    arguments = [sys.executable, "-c", OWNER, teacher.model, teacher.launch, str(tmp_path / "log")]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        pids = [pid_of(state / "start-0"), pid_of(state / "helper")]
        assert all(map(is_running, pids))
        owner.send_signal(number)
        owner.wait(timeout=10)
    assert all(map(gone_soon, pids))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"model": "http://10.0.0.7:8000/v1#m"}, "on this machine"),
        ({"model": "openai:gpt-4.1"}, "on this machine"),
        ({"model": "bundled:teacher"}, "on this machine"),
        ({"launch": "serve 'm"}, "is not a command"),
        ({"launch": " "}, "is empty"),
        ({"launch": "serve m --port 8001"}, "serves port 8001, and teacher.model asks at port 8000"),
        ({"launch": "serve m --port=8001"}, "serves port 8001"),
        ({"launch": "serve m --api-key abc"}, "would write a key"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(tmp_path, change, part) -> None:
    teacher = Teacher(**{"model": "http://127.0.0.1:8000/v1#m", "launch": "serve m --port 8000", **change})
    with pytest.raises(UsageError, match=part) as caught:
        teacher_server(teacher, tmp_path / "log", Talk(quiet=True))
    assert caught.value.hint
    assert "abc" not in caught.value.message


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    teacher = Teacher(model=f"http://127.0.0.1:{free_port()}/v1#m", launch="no-such-program serve")
    with server_of(tmp_path, teacher) as server, pytest.raises(UsageError, match="no-such-program"):
        asyncio.run(server.start())


def test_a_key_does_not_get_into_the_recipe() -> None:
    value = {"teacher": {"launch": "serve m", "launch_env": {"HF_TOKEN": "hf_abc"}}}
    with pytest.raises(RecipeError, match="HF_TOKEN") as caught:
        parse(value)
    assert "hf_abc" not in caught.value.message

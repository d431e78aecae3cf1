"""Local decoding in worker processes: the same texts, and no process outlives who began it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny import save_tiny

from spiritsafe.errors import TeacherError
from spiritsafe.recipe import Teacher
from spiritsafe.records import Reply, Request, Sampling, TeacherId
from spiritsafe.teachers.local import LocalModel
from spiritsafe.teachers.local_sampler import LocalSampler
from spiritsafe.teachers.sampler import Sampler
from spiritsafe.teachers.worker import Worker

TEXTS = ["a", "what is 2 + 3?", "a much longer question, so that rows are padded", "b", "seven", "x y z"]


def requests(max_tokens: int = 8) -> list[Request]:
    return [
        Request(
            prompt_id=text,
            messages=({"role": "user", "content": text},),
            teacher="tiny",
            sampling=Sampling(max_tokens=max_tokens, temperature=0.9 * (i % 2), top_logprobs=1),
        )
        for i, text in enumerate(TEXTS)
    ]


def of_two(folder: Path) -> LocalSampler:
    return LocalSampler(None, TeacherId(wire_name="tiny"), model=str(folder), batch_size=3, workers=2)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def soon(is_so: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not is_so() and time.monotonic() < end:
        time.sleep(0.02)
    return is_so()


def test_same_answers_as_in_this_process(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m")
    local = LocalModel.load(str(folder))
    sampler = of_two(folder)
    assert isinstance(sampler, Sampler)
    assert sampler.max_concurrency == 2

    async def run() -> tuple[list[Reply], list[int], object]:
        await sampler.open()
        assert sampler._crew is not None
        pids = [worker.pid for worker in sampler._crew.workers]
        several = await asyncio.gather(*(sampler.sample(requests()[i : i + 2]) for i in (0, 2, 4)))
        top = await sampler.score([{"role": "user", "content": "a"}], "b", 2)
        while sampler._crew._idle.qsize() < 2:  # one of them may still be importing its libraries
            await asyncio.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(TeacherError, match="a process with the local teacher ended"):
            await asyncio.gather(*(sampler.sample(requests()) for _ in range(4)))
        await sampler.close()
        await sampler.close()
        return [reply for replies in several for reply in replies], pids, top  # type: ignore[misc]

    replies, pids, top = asyncio.run(run())
    expected = local.generate(requests())
    assert [r.text for r in replies] == [r.text for r in expected]
    assert [r.usage for r in replies] == [r.usage for r in expected]
    assert [r.top_logprobs and r.top_logprobs.tokens for r in replies] == [
        r.top_logprobs and r.top_logprobs.tokens for r in expected
    ]
    assert {r.fingerprint for r in replies} == {local.fingerprint()}
    assert top == local.score([{"role": "user", "content": "a"}], "b", 2)
    assert not any(is_running(pid) for pid in pids)


def test_cancelling_ends_the_workers_at_once(tmp_path: Path) -> None:
    sampler = of_two(save_tiny(tmp_path / "m"))

    async def run() -> list[int]:
        opening = asyncio.create_task(sampler.open())
        await asyncio.sleep(0)
        assert sampler._crew is not None
        pids = [worker.pid for worker in sampler._crew.workers]
        asking = asyncio.create_task(sampler.sample(requests()))
        await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        return pids

    started = time.monotonic()
    pids = asyncio.run(run())
    assert time.monotonic() - started < 5
    assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_a_model_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    worker = Worker(str(folder))
    try:
        with pytest.raises(TeacherError, match="cannot load the model") as caught:
            worker.ask("check")
    finally:
        worker.kill()
        worker.release()
    assert str(folder) in caught.value.message
    assert caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is not there")
def test_a_worker_ends_with_its_parent(tmp_path: Path) -> None:
    # No `if __name__` guard: the caller's main module is not imported again.
    script = tmp_path / "script.py"
    script.write_text(
        "import time\nfrom spiritsafe.teachers.worker import Worker\n"
        "print(Worker('nowhere').pid, flush=True)\ntime.sleep(60)\n",
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
    assert soon(lambda: not is_running(pid))


def test_small_models_get_a_worker_per_core_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(save_tiny(tmp_path / "m"))
    monkeypatch.setattr("spiritsafe.environment.cores", lambda: 6)
    monkeypatch.setattr("spiritsafe.environment.accelerator", lambda: None)
    monkeypatch.setattr(sys, "platform", "linux")
    assert LocalSampler.from_ref(folder).max_concurrency == 6
    assert LocalSampler.from_ref(folder, Teacher(model=folder, max_concurrency=2)).max_concurrency == 2
    monkeypatch.setattr("spiritsafe.environment.accelerator", lambda: "NVIDIA T4")
    assert LocalSampler.from_ref(folder).max_concurrency == 1

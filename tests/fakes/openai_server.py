"""An OpenAI-compatible server that knows nothing, for tests and benchmarks: a process of its own.

    python tests/fakes/openai_server.py --latency 0.2 --concurrency 64 --log served.jsonl

It prints its port on the first line. The answer to a request depends only on its body, so that runs can be
compared. Each request appends {"key", "outcome", "input", "output"} to the log, with the tokens that it
billed: all outcomes but 429 and 500 bill, also those of which the client gets nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

FAULTS = ("429", "500", "timeout", "malformed", "truncated")


@dataclass
class Settings:
    """What the server does; faults are shares of requests."""

    model: str = "fake"
    latency: float = 0.0
    concurrency: int = 0
    """More at once are turned away with 429; 0 is no limit."""
    log: str | None = None
    key: str | None = None
    """The only key that is let in."""
    seed: int = 0
    retry_after: float = 0.05
    hang: float = 30.0
    """How long a request that times out is held."""
    faults: dict[str, float] = field(default_factory=dict)
    answers: str | None = None
    """FILE.py:FUNCTION that writes the answer from the text of the last message."""


class Server:
    """State of one server: open requests and attempts per key."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.open = 0
        self.write = script(settings.answers) if settings.answers else None
        self.attempts: Counter[str] = Counter()
        self.log = (
            os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if settings.log else None
        )

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/completions", self.completions)
        return app

    async def models(self, request: web.Request) -> web.Response:
        if not self.let_in(request):
            return error(401, "wrong key")
        row = {"id": self.settings.model, "object": "model", "created": 0, "owned_by": "fake"}
        return web.json_response({"object": "list", "data": [row]})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, chat=True)

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, chat=False)

    def let_in(self, request: web.Request) -> bool:
        return (
            self.settings.key is None or request.headers.get("Authorization") == f"Bearer {self.settings.key}"
        )

    async def answer(self, request: web.Request, chat: bool) -> web.StreamResponse:
        data = await request.read()
        if not self.let_in(request):
            return error(401, "wrong key")
        body = json.loads(data)
        if body["model"] != self.settings.model:
            return error(404, "no such model")
        key = request.headers.get("Idempotency-Key") or hashlib.sha256(data).hexdigest()
        outcome = self.outcome(key)
        said = self.write(body["messages"][-1]["content"]) if self.write else None
        reply = completion(body, data, chat, said)
        self.note(key, outcome, reply["usage"])
        self.open += 1
        try:
            if self.settings.latency:
                await asyncio.sleep(self.settings.latency)
            return await self.deliver(request, outcome, json.dumps(reply).encode())
        finally:
            self.open -= 1

    def outcome(self, key: str) -> str:
        if self.settings.concurrency and self.open >= self.settings.concurrency:
            return "429"
        self.attempts[key] += 1
        if not self.settings.faults:
            return "ok"
        drawn = random.Random(f"{self.settings.seed} {key} {self.attempts[key]}").random()
        for fault, share in self.settings.faults.items():
            drawn -= share
            if drawn < 0:
                return fault
        return "ok"

    def note(self, key: str, outcome: str, usage: dict[str, int]) -> None:
        if self.log is None:
            return
        billed = outcome not in ("429", "500")
        row = {
            "key": key,
            "outcome": outcome,
            "input": billed * usage["prompt_tokens"],
            "output": billed * usage["completion_tokens"],
        }
        os.write(self.log, json.dumps(row).encode() + b"\n")

    async def deliver(self, request: web.Request, outcome: str, data: bytes) -> web.StreamResponse:
        if outcome == "429":
            return error(429, "slow down", {"Retry-After": str(self.settings.retry_after)})
        if outcome == "500":
            return error(500, "internal error")
        if outcome == "timeout":
            await asyncio.sleep(self.settings.hang)
        if outcome == "malformed":
            data = data[: len(data) // 2]
        if outcome == "truncated":
            return await truncated(request, data)
        return web.Response(body=data, content_type="application/json")


def script(name: str) -> Callable[[str], str]:
    """The function of a file beside the tests."""
    file, _, function = name.rpartition(":")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def completion(body: dict[str, Any], data: bytes, chat: bool, said: str | None = None) -> dict[str, Any]:
    """An answer as the real wire has it: `said`, or drawn from the hash of the request's body."""
    digest = hashlib.sha256(data).hexdigest()
    text = said if said is not None else f"The answer is #### {int(digest[:4], 16)}"
    asked = json.dumps(body["messages"]) if chat else body["prompt"]
    usage = {"prompt_tokens": 1 + len(asked.split()), "completion_tokens": len(text.split())}
    usage["total_tokens"] = sum(usage.values())
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if chat:
        choice["message"] = {"role": "assistant", "content": text}
        if body.get("logprobs"):
            choice["logprobs"] = {"content": chat_logprobs(text, body.get("top_logprobs", 0))}
    else:
        choice["text"] = text
        if body.get("logprobs"):
            choice["logprobs"] = plain_logprobs(text, body["logprobs"])
    return {
        "id": f"cmpl-{digest[:12]}",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": body["model"],
        "system_fingerprint": "fp_fake",
        "choices": [choice],
        "usage": usage,
    }


def alternatives(word: str, top: int) -> list[tuple[str, float]]:
    return [(word if rank == 0 else f"{word}~{rank}", -0.1 - rank) for rank in range(top)]


def chat_logprobs(text: str, top: int) -> list[dict[str, Any]]:
    def row(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "logprob": logprob, "bytes": list(token.encode())}

    words = text.split()
    return [{**row(w, -0.1), "top_logprobs": [row(*pair) for pair in alternatives(w, top)]} for w in words]


def plain_logprobs(text: str, top: int) -> dict[str, Any]:
    words = text.split()
    return {
        "tokens": words,
        "token_logprobs": [-0.1] * len(words),
        "top_logprobs": [dict(alternatives(word, top)) for word in words],
        "text_offset": [text.index(word) for word in words],
    }


def error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": status}}, status=status, headers=headers)


async def truncated(request: web.Request, data: bytes) -> web.StreamResponse:
    """Promise the whole body, send half of it, hang up."""
    response = web.StreamResponse(
        headers={"Content-Type": "application/json", "Content-Length": str(len(data))}
    )
    await response.prepare(request)
    await response.write(data[: len(data) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def serve(settings: Settings, port: int) -> None:
    runner = web.AppRunner(Server(settings).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    for name in ("latency", "retry_after", "hang"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(Settings, name))
    parser.add_argument("--concurrency", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--log")
    parser.add_argument("--key")
    parser.add_argument("--answers", help="FILE.py:FUNCTION of the last message's text")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    values = vars(parser.parse_args())
    port, faults = values.pop("port"), dict(pair.split("=") for pair in values.pop("fault"))
    settings = Settings(**values, faults={name: float(share) for name, share in faults.items()})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(settings, port))


if __name__ == "__main__":
    main()

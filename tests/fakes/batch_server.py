"""A provider of batches that knows nothing, in three dialects: OpenAI's, Anthropic's and OpenRouter's.

    python tests/fakes/batch_server.py --delay 0.2 --fault 500=0.1 --drop-after 1 --log events.jsonl

It prints its port on the first line and serves /v1 (OpenAI), /anthropic/v1 and /openrouter/v1. Each event is
a line of the log; {"event": "billed", "key", "input", "output"} stands for every request that it ran. What a
request brings depends on its custom_id and on how often it came, not on the batch that it came in.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from openai_server import completion

FAULTS = ("500", "400", "expired", "missing")


@dataclass
class Settings:
    """What the provider does; faults are shares of requests."""

    delay: float = 0.0
    """Seconds that a batch takes."""
    log: str | None = None
    seed: int = 0
    faults: dict[str, float] = field(default_factory=dict)
    drop_after: int = 0
    """So many first submissions are accepted, then the connection is closed without an answer."""
    drop_before: int = 0
    """So many first submissions are not accepted, and the connection is closed."""
    break_results: int = 0
    """So many first downloads end in the middle."""
    hold: str = ""
    """The event that is held up the first time: received (before it is accepted), upload, submit, state,
    results (after half of it)."""
    hold_s: float = 60.0
    queue: int = 0
    """A batch of more requests fails with token_limit_exceeded; 0 is no limit."""
    cancel: int = 0
    """So many first batches are cancelled when half of their requests were run."""


class Server:
    """Files and batches of one account."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.attempts: Counter[str] = Counter()
        self.numbers = itertools.count(1)
        self.left = {
            "drop_after": settings.drop_after,
            "drop_before": settings.drop_before,
            "break_results": settings.break_results,
            "cancel": settings.cancel,
            "hold": 1,
        }
        self.log = (
            os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if settings.log else None
        )

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**28)
        for base, dialect in (("/v1", OpenAi), ("/anthropic/v1", Anthropic), ("/openrouter/v1", OpenRouter)):
            dialect(self).add(app.router, base)
        return app

    def note(self, event: str, **values: Any) -> None:
        if self.log is not None:
            os.write(self.log, json.dumps({"event": event, **values}).encode() + b"\n")

    def use(self, name: str) -> bool:
        """True for the first times that something is to happen."""
        self.left[name] -= 1
        return self.left[name] >= 0

    async def answer(self, event: str, value: Any) -> web.Response:
        self.note(event)
        if event == self.settings.hold and self.use("hold"):
            await asyncio.sleep(self.settings.hold_s)
        return web.json_response(value)

    async def accept(self, request: web.Request, rows: list[dict[str, Any]], **extra: Any) -> Any:
        """Take a batch in, run it, and answer with it, unless the connection is to break."""
        self.note("received")
        if self.settings.hold == "received" and self.use("hold"):
            await asyncio.sleep(self.settings.hold_s)
        if self.use("drop_before"):
            self.note("dropped before")
            return hang_up(request)
        name = f"batch_{next(self.numbers)}"
        self.batches[name] = {"id": name, "at": time.time(), "rows": rows, **extra}
        self.run(self.batches[name])
        self.note("accepted", batch=name, requests=len(rows))
        if self.use("drop_after"):
            return hang_up(request)
        return await self.answer("submit", {"id": name})

    def run(self, batch: dict[str, Any]) -> None:
        rows = batch["rows"]
        batch["error"] = None
        if self.settings.queue and len(rows) > self.settings.queue:
            batch["error"], batch["outcomes"] = "token_limit_exceeded", {}
            return
        outcomes = {row["custom_id"]: self.outcome(row["custom_id"]) for row in rows}
        if self.use("cancel"):
            outcomes = {k: v if n % 2 else "cancelled" for n, (k, v) in enumerate(outcomes.items())}
        batch["outcomes"] = outcomes
        for row in rows:
            if outcomes[row["custom_id"]] == "ok":
                usage = reply(row)["usage"]
                tokens = {"input": usage["prompt_tokens"], "output": usage["completion_tokens"]}
                self.note("billed", key=row["custom_id"], **tokens)

    def outcome(self, key: str) -> str:
        self.attempts[key] += 1
        drawn = random.Random(f"{self.settings.seed} {key} {self.attempts[key]}").random()
        for fault, share in self.settings.faults.items():
            drawn -= share
            if drawn < 0:
                return fault
        return "ok"

    def ended(self, batch: dict[str, Any]) -> bool:
        return time.time() - batch["at"] >= self.settings.delay

    def results(self, batch: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
        """(request, outcome) in another order than they came."""
        rows = [(row, batch["outcomes"].get(row["custom_id"], "")) for row in batch["rows"]]
        random.Random(batch["id"]).shuffle(rows)
        return rows

    async def download(self, request: web.Request, lines: list[Any]) -> web.StreamResponse:
        """JSON lines; the connection may break or pause in the middle."""
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        half = data.find(b"\n", len(data) // 2) + 1
        self.note("results")
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[:half])
        if data and self.use("break_results"):
            return hang_up(request)
        if self.settings.hold == "results" and self.use("hold"):
            await asyncio.sleep(self.settings.hold_s)
        await response.write(data[half:])
        return response


class OpenAi:
    """Files, batches with metadata, an output file and an error file."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def add(self, router: web.UrlDispatcher, base: str) -> None:
        router.add_post(f"{base}/files", self.upload)
        router.add_get(f"{base}/files/{{name}}/content", self.content)
        router.add_post(f"{base}/batches", self.create)
        router.add_get(f"{base}/batches", self.list)
        router.add_get(f"{base}/batches/{{name}}", self.state)

    async def upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        name = f"file-{next(self.server.numbers)}"
        self.server.files[name] = form["file"].file.read()
        return await self.server.answer("upload", {"id": name})

    async def create(self, request: web.Request) -> Any:
        body = await request.json()
        rows = [json.loads(line) for line in self.server.files[body["input_file_id"]].splitlines()]
        assert all(row["url"] == body["endpoint"] and row["method"] == "POST" for row in rows)
        return await self.server.accept(request, rows, metadata=body.get("metadata"))

    async def list(self, request: web.Request) -> web.Response:
        """Newest first, two a page."""
        names = list(reversed(self.server.batches))
        after = request.query.get("after") or request.query.get("after_id")
        start = names.index(after) + 1 if after else 0
        page = names[start : start + 2]
        rows = [self.show(self.server.batches[name]) for name in page]
        self.server.note("list")
        return web.json_response({"data": rows, "has_more": start + 2 < len(names)})

    async def state(self, request: web.Request) -> web.Response:
        batch = self.server.batches.get(request.match_info["name"])
        if batch is None:
            return web.json_response({"error": {"code": "not_found"}}, status=404)
        return await self.server.answer("state", self.show(batch))

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        status, counts = self.status(batch), Counter(batch["outcomes"].values())
        over = status not in ("in_progress", "failed")
        return {
            "id": batch["id"],
            "created_at": int(batch["at"]),
            "metadata": batch.get("metadata"),
            "status": status,
            "output_file_id": f"{batch['id']}-out" if over and counts["ok"] else None,
            "error_file_id": f"{batch['id']}-err" if over and counts.total() > counts["ok"] else None,
            "errors": {"data": [{"code": batch["error"]}]} if batch["error"] else None,
            "request_counts": {
                "total": len(batch["rows"]),
                "completed": counts["ok"] if over else 0,
                "failed": counts.total() - counts["ok"] if over else 0,
            },
        }

    def status(self, batch: dict[str, Any]) -> str:
        if not self.server.ended(batch):
            return "in_progress"
        kinds = set(batch["outcomes"].values())
        if batch["error"]:
            return "failed"
        return "cancelled" if "cancelled" in kinds else "expired" if "expired" in kinds else "completed"

    async def content(self, request: web.Request) -> web.StreamResponse:
        name, _, kind = request.match_info["name"].rpartition("-")
        results = self.server.results(self.server.batches[name])
        wanted = [line(row, o) for row, o in results if (o == "ok") == (kind == "out") and o != "missing"]
        return await self.server.download(request, wanted)


class OpenRouter(OpenAi):
    """Everything inline, no metadata."""

    async def create(self, request: web.Request) -> Any:
        text = await request.text()
        assert text.index('"model"') < text.index('"requests"') > text.index('"endpoint"')
        return await self.server.accept(request, json.loads(text)["requests"])

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        shown = super().show(batch)
        return {key: shown[key] for key in ("id", "created_at", "status", "errors", "request_counts")}

    async def state(self, request: web.Request) -> web.Response:
        batch = self.server.batches[request.match_info["name"]]
        shown = self.show(batch)
        if shown["status"] not in ("in_progress", "failed"):
            shown["results"] = [line(row, o) for row, o in self.server.results(batch) if o != "missing"]
        return await self.server.answer("state", shown)


class Anthropic(OpenAi):
    """Requests in one body, results as JSON lines, no metadata."""

    def add(self, router: web.UrlDispatcher, base: str) -> None:
        router.add_post(f"{base}/messages/batches", self.create)
        router.add_get(f"{base}/messages/batches", self.list)
        router.add_get(f"{base}/messages/batches/{{name}}", self.state)
        router.add_get(f"{base}/messages/batches/{{name}}/results", self.content)

    async def create(self, request: web.Request) -> Any:
        assert request.headers["anthropic-version"]
        rows = (await request.json())["requests"]
        rows = [{"custom_id": row["custom_id"], "body": row["params"], "params": True} for row in rows]
        return await self.server.accept(request, rows)

    def show(self, batch: dict[str, Any]) -> dict[str, Any]:
        over, counts = self.server.ended(batch), Counter(batch["outcomes"].values())
        errored = counts["500"] + counts["400"]
        return {
            "id": batch["id"],
            "created_at": datetime.fromtimestamp(batch["at"], UTC).isoformat().replace("+00:00", "Z"),
            "processing_status": "ended" if over else "in_progress",
            "request_counts": {
                "processing": 0 if over else len(batch["rows"]),
                "succeeded": over * counts["ok"],
                "errored": over * errored,
                "canceled": over * counts["cancelled"],
                "expired": over * (counts["expired"] + counts["missing"]),
            },
        }

    async def content(self, request: web.Request) -> web.StreamResponse:
        results = self.server.results(self.server.batches[request.match_info["name"]])
        return await self.server.download(request, [message_line(row, outcome) for row, outcome in results])


def reply(row: dict[str, Any]) -> dict[str, Any]:
    return completion(row["body"], json.dumps(row["body"]["messages"]).encode(), chat=True)


def line(row: dict[str, Any], outcome: str) -> dict[str, Any]:
    """A line of OpenAI's output or error file."""
    key = row["custom_id"]
    if outcome in ("expired", "cancelled"):
        error = {"code": f"batch_{outcome}", "message": "not run"}
        return {"id": "r", "custom_id": key, "response": None, "error": error}
    status = 200 if outcome == "ok" else int(outcome)
    body = reply(row) if status == 200 else {"error": {"message": "no", "code": outcome}}
    return {"id": "r", "custom_id": key, "response": {"status_code": status, "body": body}, "error": None}


def message_line(row: dict[str, Any], outcome: str) -> dict[str, Any]:
    """A line of Anthropic's results."""
    names = {"cancelled": "canceled", "missing": "expired"}
    result: dict[str, Any] = {"type": names.get(outcome, outcome)}
    if outcome in ("500", "400"):
        code = "api_error" if outcome == "500" else "invalid_request_error"
        result = {"type": "errored", "error": {"type": "error", "error": {"type": code, "message": "no"}}}
    elif outcome == "ok":
        value = reply(row)
        message = {
            "model": value["model"],
            "content": [{"type": "text", "text": value["choices"][0]["message"]["content"]}],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": value["usage"]["prompt_tokens"],
                "output_tokens": value["usage"]["completion_tokens"],
            },
        }
        result = {"type": "succeeded", "message": message}
    return {"custom_id": row["custom_id"], "result": result}


def hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def serve(settings: Settings, port: int) -> None:
    runner = web.AppRunner(Server(settings).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    for name in ("delay", "hold_s"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=getattr(Settings, name))
    for name in ("drop_after", "drop_before", "break_results", "queue", "cancel", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=0)
    parser.add_argument("--hold", default="")
    parser.add_argument("--log")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    values = vars(parser.parse_args())
    port, faults = values.pop("port"), dict(pair.split("=") for pair in values.pop("fault"))
    settings = Settings(**values, faults={name: float(share) for name, share in faults.items()})
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(settings, port))


if __name__ == "__main__":
    main()

"""A server program for teacher.launch, with the faults of real ones; standard library only.

    python tests/fakes/launched_server.py --port 8000 --model m --state DIR --crash-after 5

Every start leaves DIR/start-N with the process id in it; every answered request a line in DIR/served.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    options: argparse.Namespace

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.reply(
                200, {"object": "list", "data": [{"id": self.options.model, "root": self.options.root}]}
            )
        elif self.path == "/health" and not self.options.no_health:
            self.reply(200, {})
        else:
            self.reply(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        served = self.options.state / "served"
        crash_after = self.options.crash_after
        if crash_after and len(starts(self.options.state)) <= self.options.crashes:
            here = sum(line == str(os.getpid()) for line in lines(served))
            if here >= crash_after:
                os.kill(os.getpid(), signal.SIGKILL)
        with open(served, "a") as file:
            file.write(f"{os.getpid()}\n")
        text = f"The answer is #### {len(body['messages'][-1]['content'])}"
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9}
        self.reply(200, {"model": body["model"], "choices": [choice], "usage": usage})

    def reply(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, form: str, *values: object) -> None:
        pass


def starts(state: Path) -> list[Path]:
    return sorted(state.glob("start-*"))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="m")
    parser.add_argument("--root", default=None)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before it listens")
    parser.add_argument("--crash-at-start", action="store_true")
    parser.add_argument(
        "--crash-after", type=int, default=0, help="requests that a process answers before it dies"
    )
    parser.add_argument("--crashes", type=int, default=1, help="so many processes do")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--helper", action="store_true", help="start a second process, as engines do")
    parser.add_argument("--no-health", action="store_true")
    options = parser.parse_args()
    options.state.mkdir(parents=True, exist_ok=True)
    (options.state / f"start-{len(starts(options.state))}").write_text(str(os.getpid()))
    if options.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.helper:
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (options.state / "helper").write_text(str(helper.pid))
    print("loading", os.environ.get("FAKE_NOTE", ""), flush=True)
    time.sleep(options.slow)
    if options.crash_at_start:
        print("\x1b[31mOutOfMemoryError: CUDA out of memory\x1b[0m", flush=True)
        sys.exit(3)
    Handler.options = options
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()

"""The page in a real browser: no console message, no request but its own, no sideways scrolling."""

import contextlib
import json
import re
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from spiritsafe.report.model import read
from spiritsafe.report.page import page

CHROMIUM = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
    "--dump-dom",
]
VIEWS = [f"{page}.html?{width}" for page in ("local", "api") for width in (390, 1200)]
WRAPPER = """<!DOCTYPE html><title>measure</title><body><pre id="out"></pre><script>
const found = {};
for (const view of VIEWS) {
  const frame = document.createElement("iframe"), width = Number(view.split("?")[1]);
  frame.style.width = width + "px"; frame.style.height = "900px"; frame.style.border = "0";
  frame.src = view;
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const wide = [...page.querySelectorAll("body *")].filter(
      e => !e.closest(".scroll") && e.getBoundingClientRect().right > width + 0.5);
    found[view] = {scroll: root.scrollWidth, wide: wide.map(e => e.tagName),
      sections: [...page.querySelectorAll("main section[id]")].map(e => e.id),
      pictures: [...page.querySelectorAll("svg")].map(e => e.getBoundingClientRect().width)};
    document.getElementById("out").textContent = JSON.stringify(found);
  };
  document.body.append(frame);
}
</script>""".replace("VIEWS", json.dumps(VIEWS))


@contextlib.contextmanager
def serving(folder):
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()


def browse(url, profile):
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_in_a_browser(finished, finished_api, tmp_path):
    (tmp_path / "local.html").write_text(page(read(finished)), encoding="utf-8")
    (tmp_path / "api.html").write_text(page(read(finished_api)), encoding="utf-8")
    (tmp_path / "wrapper.html").write_text(WRAPPER)
    (tmp_path / "favicon.ico").write_bytes(b"")
    with serving(tmp_path) as (address, asked):
        dom, console = browse(f"{address}/wrapper.html", tmp_path / "profile")
    assert console == []
    assert set(asked) - {"/favicon.ico"} == {"/wrapper.html", *(f"/{view}" for view in VIEWS)}
    found = json.loads(re.search(r'<pre id="out">(.*?)</pre>', dom).group(1))
    assert sorted(found) == sorted(VIEWS)
    for view, seen in found.items():
        width = int(view.split("?")[1])
        assert seen["scroll"] <= width
        assert seen["wide"] == []
        assert len(seen["sections"]) == 12
        assert len(seen["pictures"]) == 5
        assert all(200 < picture <= width for picture in seen["pictures"])

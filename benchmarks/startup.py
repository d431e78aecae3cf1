"""How long `spiritsafe --help` takes, as a whole process: median, least and most of n runs.

python benchmarks/startup.py            writes benchmarks/results/startup.json
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from spiritsafe import environment

RUNS = 20


def main() -> None:
    """Run, print and keep."""
    program = Path(sys.executable).with_name("spiritsafe")
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run([program, "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    seconds = sorted(seconds[1:])  # the first one fills the file cache
    result = {
        "what": "spiritsafe --help, wall seconds",
        "n": RUNS,
        "median": round(statistics.median(seconds), 3),
        "least": round(seconds[0], 3),
        "most": round(seconds[-1], 3),
        "environment": environment.describe(),
    }
    print(json.dumps({key: result[key] for key in ("what", "n", "median", "least", "most")}))
    folder = Path(__file__).parent / "results"
    folder.mkdir(exist_ok=True)
    (folder / "startup.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

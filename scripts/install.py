"""What `make` does first: an environment in .venv with a torch that suits this machine.

    python scripts/install.py .venv [--torch auto|system|pinned] [--index URL]

A machine with a GPU keeps the torch that it has (auto, system): the environment then sees the packages of the
Python that made it. Everywhere else the pinned torch of constraints.txt is installed, on Linux without a GPU
from PyTorch's CPU index, for the build of the default index brings gigabytes of CUDA with it. Where that
index cannot be reached the default one is asked, which may be a mirror that offers a CPU build.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
FLOOR = r'"torch>=(\d+)\.(\d+)"'
VERSION = "import torch; print(torch.__version__)"


def attempts(*, linux: bool, gpu: bool, index: str | None) -> list[list[str]]:
    """Options of pip for the installation of torch, to be tried in this order."""
    if index is not None:
        return [["--index-url", index]]
    if linux and not gpu:
        return [["--index-url", CPU_INDEX, "--retries", "1", "--timeout", "15"], []]
    return [[]]


def wants_host_torch(torch: str, *, gpu: bool) -> bool:
    """Whether the torch of this machine is to be looked for; a GPU box has one that fits its driver."""
    return torch == "system" or (torch == "auto" and gpu)


def is_new_enough(version: str, pyproject: str) -> bool:
    """True when `version` lies in the range of pyproject.toml."""
    floor = re.search(FLOOR, pyproject)
    assert floor is not None, "pyproject.toml gives torch as a range"
    found = re.match(r"(\d+)\.(\d+)(?:\.\d+)?(a|b|rc|\.dev)?", version)
    if found is None:
        return False
    ours, least = tuple(map(int, found.groups()[:2])), tuple(map(int, floor.groups()))
    return ours > least or (ours == least and not found[3])  # 2.11.0a0 comes before 2.11, for pip too


def pinned(constraints: str) -> str:
    """The line of constraints.txt that pins torch."""
    return next(line for line in constraints.splitlines() if line.startswith("torch=="))


def without_torch(constraints: str) -> str:
    """The constraints for a machine that keeps its torch."""
    return "".join(f"{line}\n" for line in constraints.splitlines() if not line.startswith("torch=="))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", choices=("auto", "system", "pinned"), default="auto")
    parser.add_argument("--index", help="index to install torch from")
    options = parser.parse_args()
    gpu = shutil.which("nvidia-smi") is not None
    constraints = (ROOT / "constraints.txt").read_text()
    python = options.folder / "bin" / "python"
    kept = wants_host_torch(options.torch, gpu=gpu) and keep_host_torch(options.folder, python)
    if not kept:
        if options.torch == "system":
            sys.exit(
                "error: this Python has no torch in the range of pyproject.toml\nhint: make demo TORCH=pinned"
            )
        venv.create(options.folder, with_pip=True, clear=True)
        install_torch(
            python, pinned(constraints), attempts(linux=sys.platform == "linux", gpu=gpu, index=options.index)
        )
    limits = options.folder / "constraints.txt"
    limits.write_text(without_torch(constraints) if kept else constraints)
    pip(python, "-c", str(limits), "-e", f"{ROOT}[all,dev]", check=True)


def keep_host_torch(folder: Path, python: Path) -> bool:
    """Make an environment that sees this Python's packages; False when there is no torch that fits."""
    venv.create(folder, with_pip=True, clear=True, system_site_packages=True)
    found = subprocess.run([python, "-c", VERSION], capture_output=True, text=True)
    version = found.stdout.strip()
    kept = found.returncode == 0 and is_new_enough(version, (ROOT / "pyproject.toml").read_text())
    print(f"torch of this machine: {version or 'none'}, {'kept' if kept else 'not used'}", file=sys.stderr)
    return kept


def install_torch(python: Path, requirement: str, ways: list[list[str]]) -> None:
    for way in ways[:-1]:
        if pip(python, *way, requirement):
            return
        print(f"note: {requirement} could not be had with {' '.join(way)}", file=sys.stderr)
    pip(python, *ways[-1], requirement, check=True)


def pip(python: Path, *arguments: str, check: bool = False) -> bool:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=check).returncode == 0


if __name__ == "__main__":
    main()

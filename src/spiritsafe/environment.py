"""What a run ran on: versions, hardware, revision. A number without these is not shown."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spiritsafe.records import Record

PACKAGES = ("spiritsafe", "torch", "transformers", "tokenizers", "accelerate", "numpy", "pyarrow", "aiohttp")


@dataclass(frozen=True, kw_only=True, slots=True)
class Device(Record):
    """What models run on."""

    name: str
    kind: Literal["cuda", "mps", "cpu"]
    bytes: int | None
    """Its memory; None where nothing says how much."""


def device(memory_gb: float | None = None) -> Device:
    """The device of this machine, or one of `memory_gb` * 10^9 bytes that is planned for. Loads no torch."""
    if memory_gb is not None:
        return Device(name="the device planned for", kind="cuda", bytes=round(memory_gb * 1e9))
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        return Device(name=found.name, kind="cuda", bytes=found.total_memory)
    if torch is None and (name := accelerator()) is not None:
        return Device(name=name, kind="cuda", bytes=_nvidia_bytes())
    kind: Literal["mps", "cpu"] = "mps" if sys.platform == "darwin" else "cpu"
    return Device(
        name=f"{processor()}, no GPU" if kind == "cpu" else processor(), kind=kind, bytes=_memory_bytes()
    )


def _nvidia_bytes() -> int | None:
    """Memory of the first visible NVIDIA device, as nvidia-smi says; None without it."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0] or "0"
    query = ["nvidia-smi", "-i", first, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
        return int(done.stdout.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def describe() -> dict[str, Any]:
    """Versions, processor, memory in bytes, commit and date (UTC) as JSON values."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": _memory_bytes(),
        "accelerator": accelerator(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def accelerator() -> str | None:
    """Name of the first CUDA device, read from the driver's files so that torch stays unloaded."""
    names = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    for path in names:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None


def commit() -> str | None:
    """Git revision of the package's checkout, with + when files differ; None when installed from a wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "--short=10", "HEAD")
    return f"{head}+" if head and _git(root, "status", "--porcelain", "--untracked-files=no") else head


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None

"""Half of the product needs no torch: it must not be loaded there, nor by --help."""

import subprocess
import sys

import pytest

TORCH_FREE = [
    "spiritsafe.cli.main",
    "spiritsafe.recipe",
    "spiritsafe.stats",
    "spiritsafe.costs.prices",
    "spiritsafe.costs.economics",
    "spiritsafe.costs.memory",
    "spiritsafe.tasks.base",
    "spiritsafe.tasks.verifiers",
    "spiritsafe.store.ledger",
    "spiritsafe.store.shards",
    "spiritsafe.store.exchange",
    "spiritsafe.teachers.api",
    "spiritsafe.teachers.batchapi",
    "spiritsafe.teachers.connect",
    "spiritsafe.teachers.launch",
    "spiritsafe.teachers.local_sampler",
    "spiritsafe.teachers.scripted",
    "spiritsafe.collect.generate",
    "spiritsafe.collect.batch",
    "spiritsafe.collect.select",
    "spiritsafe.collect.expand",
    "spiritsafe.pipeline.run",
    "spiritsafe.pipeline.pilot",
    "spiritsafe.report.page",
]


def test_rooms_without_torch():
    code = f"import importlib, sys\nfor n in {TORCH_FREE!r}: importlib.import_module(n)\n"
    code += "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'transformers', 'accelerate'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["store", "--help"]])
def test_help_loads_little(arguments):
    code = (
        "import sys; sys.argv = ['spiritsafe', *" + repr(arguments) + "]\n"
        "from spiritsafe.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pyarrow', 'aiohttp'}\n"
        "print('HEAVY', sorted({m.split('.')[0] for m in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout
    assert done.stdout.strip().endswith("HEAVY []")

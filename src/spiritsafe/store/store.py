"""What `spiritsafe store` and Python users see of a run's answers: list, verify, export, import."""

from __future__ import annotations

from pathlib import Path

from spiritsafe.errors import UsageError
from spiritsafe.records import Sample
from spiritsafe.store.batches import Batch
from spiritsafe.store.exchange import export_samples, import_samples
from spiritsafe.store.ledger import Ledger
from spiritsafe.store.rows import Totals
from spiritsafe.store.shards import MANIFEST, read_shards, verify, write_shards
from spiritsafe.store.summary import StoreSummary, list_store

PARTS = ("selected", "samples", "imported", "test_samples")
"""Folders of shards in a run directory; an export takes the first that exists unless one is named."""


class Store:
    """The answers of one run directory."""

    def __init__(self, run_dir: str | Path) -> None:
        """Raises UsageError when the directory holds neither a ledger nor shards."""
        self.path = Path(run_dir)
        if not self.ledger_path.exists() and not self.parts():
            raise UsageError(
                f"no stored answers in {self.path}", hint="give a run directory, such as runs/schoolbook"
            )

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.sqlite"

    def parts(self) -> list[str]:
        """The shard folders that exist."""
        return [part for part in PARTS if (self.path / part / MANIFEST).exists()]

    def summaries(self) -> list[StoreSummary]:
        """Rows, bytes and decisions of each shard folder."""
        return list_store(self.path)

    def totals(self) -> Totals | None:
        """Requests by state and money; None without a ledger."""
        if not self.ledger_path.exists():
            return None
        with Ledger(self.ledger_path) as ledger:
            return ledger.totals()

    def batches(self) -> list[Batch]:
        """Batches that may still bring answers."""
        if not self.ledger_path.exists():
            return []
        with Ledger(self.ledger_path) as ledger:
            return ledger.batches.living()

    def verify(self) -> list[str]:
        """Every problem found in shards and ledger, one line each; empty when all is well."""
        problems = [problem for part in self.parts() for problem in verify(self.path / part)]
        if self.ledger_path.exists():
            with Ledger(self.ledger_path) as ledger:
                problems += ledger.verify()
        return problems

    def samples(self, part: str | None = None) -> list[Sample]:
        """The samples of one folder, hashes checked. Raises CorruptData; UsageError for no such part."""
        return read_shards(self.path / self._part(part))

    def export(self, path: Path, format: str, *, part: str | None = None, rejected: bool = False) -> int:
        """Write samples for other tools; the number written. See `exchange.export_samples`."""
        return export_samples(self.samples(part), path, format, rejected=rejected)

    @classmethod
    def take_in(
        cls,
        run_dir: str | Path,
        path: Path,
        format: str = "auto",
        *,
        origin: str | None,
        date: str | None,
        batch_input: Path | None = None,
    ) -> int:
        """Add a foreign file's answers to `imported/`; how many were new. The same file twice adds none."""
        new = import_samples(path, format, origin=origin, date=date, batch_input=batch_input)
        folder = Path(run_dir) / "imported"
        known = read_shards(folder) if (folder / MANIFEST).exists() else []
        together = {sample.request_hash: sample for sample in [*known, *new]}
        write_shards(together.values(), folder)
        return len(together) - len(known)

    def _part(self, part: str | None) -> str:
        present = self.parts()
        if part is None and present:
            return present[0]
        if part not in present:
            raise UsageError(f"no part {part!r} in {self.path}", hint=f"there are: {', '.join(present)}")
        return str(part)

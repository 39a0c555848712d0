"""``run.json`` of a run's folder: on which data and which machine it ran, so that its costs can be compared later."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from frugalrec.errors import DataError
from frugalrec.machine import describe
from frugalrec.machine_profile import Profile


@dataclass(frozen=True)
class RunRecord:
    """What a run ran on; empty and None are unknown, as in the folders of versions that kept no record.

    ``data``: fingerprint of the data set. ``machine``: as `frugalrec.machine.describe` tells. ``watts_a_core``: what a
    busy core draws, as the machine's profile had it then, and ``watts_basis`` how that is known. ``started``: when
    ``command`` began, in seconds since 1970. Where it went on in the folder of one that was interrupted, or did all
    again there, ``earlier`` has the records of those before it, the oldest first.
    """

    data: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    watts_a_core: float | None = None
    watts_basis: str = "unknown"
    started: float | None = None
    command: str = ""
    earlier: tuple[RunRecord, ...] = ()

    @classmethod
    def of(cls, data_fingerprint: str, profile: Profile | None, *, started: float, command: str) -> RunRecord:
        """Describe a run on these data and this machine."""
        found = cls(data_fingerprint, describe(), started=started, command=command)
        if profile is None:
            return found
        return replace(found, watts_a_core=profile.watts_a_core, watts_basis=profile.power.basis)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record of a run; without one, what its ``plan.toml`` says of the data.

        Raises `DataError` where either is there and damaged: a gate between runs must not take that for unknown.
        """
        path = folder / "run.json"
        try:
            if path.exists():
                table = json.loads(path.read_text(encoding="utf-8"))
                return replace(cls._of_table(table), earlier=tuple(map(cls._of_table, table.get("earlier", ()))))
            path = folder / "plan.toml"
            if path.exists():
                plan = tomllib.loads(path.read_text(encoding="utf-8"))
                return cls(str(plan.get("fingerprints", {}).get("data", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: damaged: {error}", hint="run it again, or restore the file") from error
        return cls()

    @classmethod
    def _of_table(cls, table: Mapping[str, Any]) -> RunRecord:
        watts, started = table["watts_a_core"], table.get("started")
        return cls(
            str(table["data"]),
            dict(table["machine"]),
            None if watts is None else float(watts),
            str(table["watts_basis"]),
            None if started is None else float(started),
            str(table.get("command", "")),
        )

    def to_json(self) -> str:
        """Return what is kept in ``run.json``."""
        table = asdict(self)
        for part in table["earlier"]:
            del part["earlier"]
        return json.dumps(table, indent=2, ensure_ascii=False) + "\n"

    def after_those_in(self, folder: Path) -> RunRecord:
        """Return the record with those of the runs that were in ``folder`` before, where it has any."""
        if not (folder / "run.json").exists():
            return self
        try:
            before = RunRecord.read(folder)
        except DataError:
            before = RunRecord()  # it is replaced; what was spent before stays in the ledger, on an unknown machine
        return replace(self, earlier=(*before.earlier, replace(before, earlier=())))

    @property
    def parts(self) -> tuple[RunRecord, ...]:
        """What ran in the folder, one command after another, this one last."""
        return (*self.earlier, self)

    def at(self, moment: float) -> RunRecord:
        """Return the part that was running at ``moment``, in seconds since 1970; one that knows nothing before all."""
        begun = (part for part in reversed(self.parts) if part.started is None or part.started <= moment)
        return next(begun, RunRecord())

    def joules(self, cpu_seconds: float | None) -> float | None:
        """Return about what so much processor time took, by the profile's watts; None where either is unknown."""
        return None if cpu_seconds is None or self.watts_a_core is None else cpu_seconds * self.watts_a_core


__all__ = ["RunRecord"]

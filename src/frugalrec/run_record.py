"""``run.json`` of a run's folder: on which data and which machine it ran, so that its costs can be compared later."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from frugalrec.errors import DataError
from frugalrec.machine import describe
from frugalrec.machine_profile import Profile


@dataclass(frozen=True)
class RunRecord:
    """What a run ran on; empty and None are unknown, as in the folders of versions that kept no record.

    ``data``: fingerprint of the data set. ``machine``: as `frugalrec.machine.describe` tells. ``watts_a_core``: what a
    busy core draws, as the machine's profile had it then, and ``watts_basis`` how that is known.
    """

    data: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)
    watts_a_core: float | None = None
    watts_basis: str = "unknown"

    @classmethod
    def of(cls, data_fingerprint: str, profile: Profile | None) -> RunRecord:
        """Describe a run on these data and this machine."""
        if profile is None:
            return cls(data_fingerprint, describe())
        return cls(data_fingerprint, describe(), profile.watts_a_core, profile.power.basis)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record of a run; without one, what its ``plan.toml`` says of the data.

        Raises `DataError` where either is there and damaged: a gate between runs must not take that for unknown.
        """
        path = folder / "run.json"
        try:
            if path.exists():
                table = json.loads(path.read_text(encoding="utf-8"))
                watts = table["watts_a_core"]
                power = None if watts is None else float(watts)
                return cls(str(table["data"]), dict(table["machine"]), power, str(table["watts_basis"]))
            path = folder / "plan.toml"
            if path.exists():
                plan = tomllib.loads(path.read_text(encoding="utf-8"))
                return cls(str(plan.get("fingerprints", {}).get("data", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: damaged: {error}", hint="run it again, or restore the file") from error
        return cls()

    def to_json(self) -> str:
        """Return what is kept in ``run.json``."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def joules(self, cpu_seconds: float | None) -> float | None:
        """Return about what so much processor time took, by the profile's watts; None where either is unknown."""
        return None if cpu_seconds is None or self.watts_a_core is None else cpu_seconds * self.watts_a_core


__all__ = ["RunRecord"]

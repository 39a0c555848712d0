"""What the package promises from outside: its exported names, its size at import, its typing, its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import frugalrec

ROOT = Path(__file__).parents[2]

EXPORTED = {
    "Catalog",
    "Cost",
    "Dataset",
    "Decision",
    "FrugalrecError",
    "Interactions",
    "Ledger",
    "Pipeline",
    "Plan",
    "PriceSheet",
    "Query",
    "Ranking",
    "Split",
    "Trial",
    "load",
}


def test_exported_names_are_pinned() -> None:
    assert set(frugalrec.__all__) == EXPORTED
    for name in frugalrec.__all__:
        assert getattr(frugalrec, name) is not None


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, frugalrec; "
        "print([m for m in ('numpy', 'scipy', 'duckdb', 'onnxruntime', 'torch', 'implicit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_core_never_needs_torch() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    core = text.split("dependencies = [", 1)[1].split("]", 1)[0]
    assert "torch" not in core
    assert (ROOT / "src/frugalrec/py.typed").exists()


def test_nothing_is_unpickled() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "import pickle" not in text, file
        assert "allow_pickle=True" not in text, file

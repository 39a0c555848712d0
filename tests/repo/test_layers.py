"""A file imports only from rows above its own; component folders never import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import frugalrec

ROOT = Path(frugalrec.__file__).parent

ROWS: list[set[str]] = [
    {"errors", "progress", "usage"},
    {"cost", "work"},
    {"price_tables"},
    {"machine", "assets", "prices", "endpoint", "array_files"},
    {"executors"},
    {"text"},
    {"machine_profile"},
    {"spending", "run_record"},
    {"data"},
    {"interfaces"},
    {"torch_training", "pretrained"},
    {"registry"},
    {"encoders", "llms", "recommenders", "rerankers", "rating_models", "metrics", "list_metrics", "stores"},
    {"tasks"},
    {"rating_metrics", "significance"},
    {"plan"},
    {"learned"},
    {"pipeline"},
    {"evaluation"},
    {"tuning_space"},
    {"refitting"},
    {"tuning", "rungs", "forecast", "calibration", "gating"},
    {"floors", "budgets", "flips", "plan_space"},
    {"worth"},
    {"planner"},
    {"config", "portfolio"},
    {"datasets", "run_folder", "estimation", "run_costs", "narrowing"},
    {"look_files", "forecast_rows"},
    {"looks"},
    {"run_cost_exports", "run_trackers", "scale", "plan_search", "batch", "expectations", "trial_files", "pace"},
    {"trying", "plan_weights"},
    {"study"},
    {"report"},
    {"cli"},
    {"__main__"},
]
SIBLINGS = {"encoders", "llms", "recommenders", "rerankers", "rating_models", "metrics", "list_metrics", "stores"}
LOOKS_ACROSS: set[tuple[str, str]] = {
    ("plan", "pipeline"),  # `Plan.build` returns what a plan becomes: that method alone imports it
}
"""Imports that break the rule, each with its reason beside it. Keep it short."""

ROW_OF = {name: row for row, names in enumerate(ROWS) for name in names}


def part_of(module: str) -> str | None:
    """Return the first part of a frugalrec module's name below the package, or None for anything else."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "frugalrec" and len(pieces) > 1 else None


def imported(file: Path) -> set[str]:
    """Return the parts of frugalrec that ``file`` imports anywhere, inside functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {part for alias in node.names if (part := part_of(alias.name))}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write absolute imports"
            if node.module == "frugalrec":
                found |= {alias.name for alias in node.names if alias.name in ROW_OF or alias.name == "testing"}
            elif node.module and (part := part_of(node.module)):
                found.add(part)
    return found


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=[str(f.relative_to(ROOT)) for f in FILES])
def test_imports_point_one_way(file: Path) -> None:
    own = file.relative_to(ROOT).parts[0].removesuffix(".py")
    if own in ("__init__", "testing"):
        return
    assert own in ROW_OF, f"{own} is in no row of this test: give it one"
    for part in imported(file) - {own}:
        assert part != "testing", f"{file.name} imports frugalrec.testing, which is for tests"
        assert (own, part) in LOOKS_ACROSS or ROW_OF[part] < ROW_OF[own], f"{own} must not import {part}"
        assert not (own in SIBLINGS and part in SIBLINGS), f"{own} and {part} are siblings"


def test_the_rule_can_fail(tmp_path: Path) -> None:
    """The reader of imports sees every form of them."""
    source = tmp_path / "x.py"
    source.write_text(
        "import frugalrec.plan\ndef f():\n    from frugalrec import cost\n    from frugalrec.cli._app import run\n"
    )
    assert imported(source) == {"plan", "cost", "cli"}

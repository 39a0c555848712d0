"""Forecasts at another size: what grows, what it costs, what breaks first, and where plans cross."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from frugalrec.config import parse_config
from frugalrec.errors import ConfigError, PriceError
from frugalrec.forecast import DAYS_A_MONTH
from frugalrec.machine_profile import Profile, hardware
from frugalrec.prices import PriceSheet
from frugalrec.scale import Forecaster, PerRequestModel, Size, crossings
from frugalrec.study import Study
from frugalrec.testing.data import toy_dataset
from frugalrec.work import UNITS

PRICES = PriceSheet.load()
SIZE = Size(users=1e6, items=20_000, requests_per_second=500.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a real run of four plans."""
    where = tmp_path_factory.mktemp("run")
    only = ["popularity", "ease", "sequential", "content-words"]
    table = {
        "data": {"interactions": "log.csv"},
        "plans": {"only": only},
        "tuning": {"seconds": 0.0},
        "evaluation": {"timed_queries": 5},
    }
    config = parse_config(table, "the test's configuration")
    Study(config, toy_dataset(n_users=60, n_items=40, seed=1, cold=3), PRICES, where).run()
    return where


@pytest.fixture
def forecaster(folder: Path) -> Forecaster:
    return Forecaster.read(folder, PRICES, None)


def test_every_plan_is_forecast_and_money_adds_up(forecaster: Forecaster) -> None:
    machine = PRICES.hardware("cpu-16")
    rows = forecaster.rows(SIZE, machine)
    assert {row.plan for row in rows} == {"popularity", "ease", "sequential", "content-words"}
    months = [row.month for row in rows]
    assert months == sorted(months)  # type: ignore[type-var]
    for row in rows:
        assert row.money is not None
        assert row.month == pytest.approx(sum(row.money.values()))
        assert row.machines is not None
        assert row.machines >= 2
        assert row.kwh is not None
        assert row.co2e_kg == pytest.approx(row.kwh * PRICES.carbon_of())
        assert row.money["egress"] == pytest.approx(500 * 1000 * 86_400 * DAYS_A_MONTH / 2**30 * 0.09)
        assert sum(forecaster.sensitivity(row).values()) == pytest.approx(1.0)


def test_the_runs_own_size_gives_its_own_cost(forecaster: Forecaster) -> None:
    trial = next(t for t in forecaster.trials if t.name == "ease")
    size = Size(forecaster.shape.users, forecaster.shape.items, 1.0)
    row = forecaster.row(trial, size, replace(PRICES.hardware("cpu-16"), cores=1))
    assert row.refresh_seconds == pytest.approx(trial.cost["refresh"].cpu_seconds, rel=0.02)
    assert row.request_seconds == pytest.approx(trial.cost["request"].cpu_seconds, rel=1e-3)
    assert row.model_bytes == pytest.approx(trial.model_bytes)


def test_bytes_on_disk_are_stored_and_sent_but_not_held(forecaster: Forecaster) -> None:
    trial = next(t for t in forecaster.trials if t.name == "ease")
    size = Size(forecaster.shape.users, 10 * forecaster.shape.items, 1.0)
    machine = PRICES.hardware("cpu-16")
    plain, mapped = (forecaster.row(t, size, machine) for t in (trial, replace(trial, disk_bytes=1_000_000)))
    assert mapped.model_bytes == plain.model_bytes
    assert plain.storage_bytes is not None
    assert mapped.storage_bytes == pytest.approx(plain.storage_bytes + 2 * 10 * 1_000_000)


def test_machines_to_refit_by_hand(forecaster: Forecaster) -> None:
    """Memory is divided evenly, and time at 70% of the ideal; a refit may take half of the time between two."""
    trial = next(t for t in forecaster.trials if t.name == "ease")
    machine = replace(PRICES.hardware("cpu-16"), cores=1, speed=1.0)
    plain = forecaster.row(trial, SIZE, machine)
    assert plain.refresh_bytes is not None
    assert plain.refresh_alone_seconds is not None
    assert (plain.refresh_machines, plain.refresh_machines_in_time) == (1, 1)
    # 3.5 machines' memory: 4 machines, whatever is lost of their time.
    small = forecaster.row(trial, SIZE, replace(machine, memory_gib=plain.refresh_bytes / 3.5 / 2**30))
    assert (small.refresh_machines, small.refresh_machines_in_time) == (4, 1)
    # 2.1 times as long as is allowed: 3 machines at 70% are as fast as 2.1, and one is not.
    allowed = plain.refresh_alone_seconds / 2.099
    often = forecaster.row(trial, replace(SIZE, refreshes_per_day=0.5 * 86_400 / allowed), machine)
    assert (often.refresh_machines, often.refresh_machines_in_time) == (3, 3)
    assert often.refresh_seconds == pytest.approx(plain.refresh_alone_seconds / 2.1, rel=0.05)
    # 1.01 times as long: two machines, at 70%, are 1.4 times as fast.
    often = forecaster.row(
        trial, replace(SIZE, refreshes_per_day=1.01 * 0.5 * 86_400 / plain.refresh_alone_seconds), machine
    )
    assert often.refresh_machines == 2


def test_more_of_anything_is_not_cheaper(forecaster: Forecaster) -> None:
    machine = PRICES.hardware("cpu-16")
    for trial in forecaster.trials:
        base = forecaster.row(trial, SIZE, machine).month
        changes = ("users", 1e8), ("items", 200_000), ("requests_per_second", 50_000.0), ("refreshes_per_day", 24.0)
        for change in [dict([pair]) for pair in changes]:
            grown = forecaster.row(trial, replace(SIZE, **change), machine).month
            assert base is not None
            assert grown is not None
            assert grown >= base, (trial.name, change)


def test_a_profile_is_used_where_there_is_one(folder: Path) -> None:
    profile = Profile(hardware(), {kind: {1: ((1.0, 1e9),)} for kind in UNITS})
    rows = Forecaster.read(folder, PRICES, profile).rows(SIZE, PRICES.hardware("cpu-16"))
    assert all(row.month is not None for row in rows)


def test_what_breaks_first_is_on_the_way(forecaster: Forecaster) -> None:
    size = Size(users=1e8, items=5e6, requests_per_second=20_000.0)
    found = forecaster.breaks(size, PRICES.hardware("cpu-16"))
    assert {b.plan for b in found} >= {"ease", "sequential"}
    for b in found:
        assert forecaster.shape.users <= b.users <= 1e8
        assert forecaster.shape.items <= b.items <= 5e6
        assert b.what


def test_a_language_model_at_every_request_costs_more(forecaster: Forecaster) -> None:
    base = forecaster.rows(SIZE, PRICES.hardware("cpu-16"))[0]
    model = PerRequestModel(8e9, tokens_in=500.0, tokens_out=30.0)
    own, api = forecaster.per_request_rows(base, SIZE, model, PRICES.hardware("gpu-h100"), "gpt-4o-mini")
    assert own.money is not None
    assert api.money is not None
    assert base.month is not None
    assert own.month is not None
    assert own.month > 2 * base.month
    requests = 500.0 * 86_400 * DAYS_A_MONTH
    assert api.money["language model"] == pytest.approx(requests * (500 * 0.15 + 30 * 0.60) / 1e6)
    assert api.kwh is None  # nobody tells
    (unpriced,) = forecaster.per_request_rows(base, SIZE, model, None, "no-such-model")
    assert unpriced.month is None
    assert "no-such-model" in unpriced.unknown
    assert unpriced.latency_seconds is None


def test_lines_cross_where_the_cheaper_one_changes(forecaster: Forecaster) -> None:
    assert crossings([1, 10, 100], {"a": [1, 2, 30], "b": [5, 5, 5]}) == [(pytest.approx(31.6, rel=0.01), "a", "b")]
    assert crossings([1, 10], {"a": [1, 2], "b": [5, 5]}) == []
    assert crossings([], {}) == []
    # Plans that cross above a third, cheaper one are told as well; lines that only touch are not.
    lines = {"base": [1, 1, 1], "a": [2, 3, 9], "b": [4, 4, 4]}
    assert crossings([1, 10, 100], lines) == [(pytest.approx(31.6, rel=0.01), "a", "b")]
    assert crossings([1, 10, 100], {"a": [2, 2, 2], "b": [1, 2, 1.5]}) == []
    rates, drawn = forecaster.by_traffic(SIZE, PRICES.hardware("cpu-16"), points=5)
    assert rates[0] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(5000.0)
    assert all(list(line) == sorted(line) for line in drawn.values())


def test_a_language_model_a_request_is_drawn_beside_the_plans(forecaster: Forecaster) -> None:
    model, machine = PerRequestModel(8e9, tokens_in=500.0, tokens_out=30.0), PRICES.hardware("cpu-16")
    gpu = PRICES.hardware("gpu-h100")
    _, drawn = forecaster.by_traffic(SIZE, machine, 5, model=model, base="ease", gpu=gpu, api="gpt-4o-mini")
    api = drawn["ease + gpt-4o-mini a request"]
    assert api[0] < drawn["ease + 8B LM a request"][0]  # at one request a second two GPUs stand idle
    assert all(above > below for above, below in zip(api, drawn["ease"], strict=True))


@pytest.mark.parametrize("name", ["storage_gib_month", "egress_gib"])
def test_a_price_that_is_not_there_is_an_error_and_not_zero(forecaster: Forecaster, name: str) -> None:
    forecaster.prices = replace(PRICES, **{name: None})
    with pytest.raises(PriceError, match=f"no '{name}'"):
        forecaster.rows(SIZE, PRICES.hardware("cpu-16"))


def test_new_items_of_unknown_cost_make_the_month_unknown(forecaster: Forecaster) -> None:
    trial = next(t for t in forecaster.trials if t.name == "content-words")
    unknown = replace(trial, cost={**trial.cost, "once": replace(trial.cost["once"], cpu_seconds=None)})
    growing, machine = replace(SIZE, catalogue_growth=0.05), PRICES.hardware("cpu-16")
    assert forecaster.row(unknown, SIZE, machine).month is not None  # nothing new is encoded
    row = forecaster.row(unknown, growing, machine)
    assert (row.month, row.kwh) == (None, None)
    assert "encoding" in row.unknown


def test_bought_tokens_are_part_of_the_month(forecaster: Forecaster) -> None:
    trial, machine = next(t for t in forecaster.trials if t.name == "ease"), PRICES.hardware("cpu-16")
    fees = {"once": 2.0, "refresh": 0.5, "request": 1e-6}
    bought = replace(trial, cost={p: replace(c, fees=fees[p]) for p, c in trial.cost.items()})
    row = forecaster.row(bought, replace(SIZE, catalogue_growth=0.1), machine)
    assert row.money is not None
    encoded = 2.0 * 0.1 * SIZE.items / forecaster.shape.items
    requests = SIZE.requests_per_second * 86_400 * DAYS_A_MONTH
    assert row.money["tokens"] == pytest.approx(encoded + 0.5 * DAYS_A_MONTH + 1e-6 * requests)
    nobody = replace(trial, cost={**trial.cost, "request": replace(trial.cost["request"], fees=None)})
    assert forecaster.row(nobody, SIZE, machine).month is None


def test_a_machine_of_ones_own_pays_for_electricity(forecaster: Forecaster) -> None:
    trial, rented = forecaster.trials[0], PRICES.hardware("cpu-16")
    own = replace(rented, own=True)
    row = forecaster.row(trial, SIZE, own)
    assert row.money is not None
    assert row.kwh is not None
    assert row.money["electricity"] == pytest.approx(row.kwh * 0.13)
    assert "electricity" not in (forecaster.row(trial, SIZE, rented).money or {})
    dark = forecaster.row(trial, SIZE, replace(own, watts=None))
    assert (dark.month, dark.kwh) == (None, None)
    forecaster.prices = replace(PRICES, kwh=None)
    with pytest.raises(PriceError, match="no 'kwh'"):
        forecaster.row(trial, SIZE, own)


def test_a_topology_holds_all_items_and_users(forecaster: Forecaster) -> None:
    small = replace(PRICES.hardware("cpu-16"), memory_gib=0.02)
    row = next(r for r in forecaster.rows(SIZE, small) if r.plan == "ease")
    assert row.item_shards is not None
    assert row.item_shards > 1
    assert row.items_a_shard is not None
    assert row.items_a_shard * row.item_shards == pytest.approx(SIZE.items)
    assert row.machines == row.item_shards * (row.replicas or 0)
    assert (row.users_a_machine or 0) * row.machines == pytest.approx(SIZE.users)


@pytest.mark.parametrize("name", ["users", "items", "requests_per_second", "refreshes_per_day"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_size_of_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", "-")):
        replace(SIZE, **{name: value})


def test_trials_that_cannot_be_read_are_counted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shape.json").write_text((folder / "shape.json").read_text())
    text = (folder / "trials.jsonl").read_text()
    (tmp_path / "trials.jsonl").write_text(text[: len(text) - 50])
    found = Forecaster.read(tmp_path, PRICES, None)
    assert (len(found.trials), found.torn) == (3, 1)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to forecast from"):
        Forecaster.read(tmp_path, PRICES, None)


def test_machines_that_are_not_on_the_sheet_are_an_error() -> None:
    with pytest.raises(PriceError, match="no machine 'tpu'"):
        PRICES.hardware("tpu")

"""Estimates, caps, costs and forecasts as users of the command line meet them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from importlib import resources
from pathlib import Path

import pytest

from frugalrec.cli._app import run
from frugalrec.cli._numbers import number_of
from frugalrec.errors import ConfigError
from frugalrec.machine_profile import Profile, hardware
from frugalrec.testing.data import toy_dataset
from frugalrec.work import UNITS

CONFIG = """
[data]
interactions = "log.csv"
items = "items.csv"
text = ["title"]
[tuning]
seconds = 0
[evaluation]
timed_queries = 5
[plans]
only = ["popularity", "ease", "sequential-words"]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a shop with a profile in its cache and a finished run."""
    folder = tmp_path_factory.mktemp("shop")
    data = toy_dataset(n_users=50, n_items=30, seed=1, cold=3)
    log = data.interactions
    assert log.timestamp is not None
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        rows.writerows(
            (f"u{user}", data.catalog.items.ids[item], int(at))
            for user, item, at in zip(log.user, log.item, log.timestamp, strict=True)
        )
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        rows.writerows(zip(data.catalog.items.ids, data.catalog.texts(), strict=True))
    (folder / "shop.toml").write_text(CONFIG, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRUGALREC_CACHE", str(folder / "cache"))
        Profile(hardware(), {kind: {1: ((1.0, 1e7),)} for kind in UNITS}).save()
        assert run(["plan", str(folder / "shop.toml")]) == 0
    return folder


@pytest.fixture(autouse=True)
def cache(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(shop / "cache"))


def test_estimate_tells_every_plan(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", str(shop / "shop.toml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [p["plan"] for p in found["plans"]] == ["popularity", "ease", "sequential-words"]
    assert all(p["seconds"]["low"] <= p["seconds"]["expected"] <= p["seconds"]["high"] for p in found["plans"])
    assert found["total"]["currency"] == "USD"
    assert run(["estimate", str(shop / "shop.toml"), "--users", "1M", "--items", "2k"]) == 0
    shown = capsys.readouterr().out
    assert "sequential-words" in shown
    assert "all plans" in shown
    assert not any(path.name == "fitted" for path in shop.iterdir())


def test_estimate_says_what_does_not_fit(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "dense.toml"
    own = '[[plans.own]]\nname = "huge"\nrecommender = { component = "ease", solver = "dense" }\n'
    config.write_text(CONFIG.replace('"ease", "sequential-words"', "") + own)
    assert run(["estimate", str(config), "--items", "5M"]) == 1
    assert "huge does not fit into memory" in capsys.readouterr().out


def test_a_cap_of_the_study_is_kept(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "capped.toml"
    config.write_text(CONFIG + "[study]\nmax_seconds = 1e-9\n")
    assert run(["estimate", str(config)]) == 1
    assert "above max_seconds" in capsys.readouterr().out
    assert run(["plan", str(config)]) == 2
    told = capsys.readouterr().err
    assert "above max_seconds" in told
    assert "hint:" in told
    assert not (shop / "capped-run" / "trials.jsonl").exists()


UNKNOWN = """
[[plans.own]]
name = "asked"
recommender = { component = "plan", name = "popularity" }
reranker = { component = "likelihood", model = { component = "http", url = "http://localhost:9/v1", model = "LM" } }
"""


def test_a_plan_that_nobody_can_estimate_does_not_lift_a_cap(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "unknown.toml"
    config.write_text(CONFIG + "[study]\nmax_seconds = 1e-9\n" + UNKNOWN.replace("LM", "gpt-4o-mini"))
    assert run(["estimate", str(config)]) == 1
    assert "without what is unknown of asked, above max_seconds" in capsys.readouterr().out
    assert run(["plan", str(config)]) == 2
    assert "above max_seconds" in capsys.readouterr().err


def test_a_cap_without_a_profile_cannot_be_foreseen_and_says_so(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))
    config = shop / "blind.toml"
    config.write_text(CONFIG + "[study]\nmax_seconds = 1e-9\n")
    assert run(["estimate", str(config)]) == 0
    assert "max_seconds = 1e-09 cannot be foreseen" in capsys.readouterr().out


def test_tokens_that_are_bought_are_priced_before_they_are(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "bought.toml"
    for model, known in (("gpt-4o-mini", True), ("no-such-model", False)):
        config.write_text(CONFIG + UNKNOWN.replace("LM", model))
        assert run(["estimate", str(config), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["plans"][-1]
        request = next(s for s in found["stages"] if s["stage"] == "request")
        assert request["seconds"] is None  # how fast an endpoint answers is not known here
        if not known:
            assert (request["money"], found["money_per_month"]) == (None, None)
            assert any("no token price for 'no-such-model'" in why for why in found["unknown"])
            continue
        tokens = request["tokens"]["expected"]
        assert request["money"]["expected"] == pytest.approx(tokens * 0.15 / 1e6, rel=0.05)
        assert found["money_per_month"]["expected"] > 1e6 * 30 * tokens * 0.15 / 1e6


def test_estimating_fetches_nothing(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "absent.toml"
    own = '[[plans.own]]\nname = "x"\nrecommender = { component = "content", encoder = { component = "static" } }\n'
    config.write_text(CONFIG + own)
    assert run(["estimate", str(config)]) == 0
    assert "fetching is forbidden" in capsys.readouterr().out
    assert not (shop / "cache" / "assets").exists()


def test_a_setting_that_is_missing_is_named(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = shop / "lacking.toml"
    own = 'recommender = { component = "plan", name = "ease" }\nreranker = { component = "cross-encoder" }\n'
    config.write_text(CONFIG + '[[plans.own]]\nname = "x"\n' + own)
    assert run(["estimate", str(config)]) == 2
    assert "of plan 'x' needs 'retriever'" in capsys.readouterr().err


def test_a_budget_below_the_cheapest_plan_is_refused_before_any_work(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = shop / "poor.toml"
    config.write_text(CONFIG + "[budget]\ndollars_per_month = 1e-12\n")
    assert run(["plan", str(config)]) == 2
    assert "the cheapest, " in capsys.readouterr().err
    assert not (shop / "poor-run" / "trials.jsonl").exists()


def test_a_run_keeps_what_was_expected(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in (shop / "shop-run" / "estimates.jsonl").read_text().splitlines()]
    assert {line["plan"] for line in lines} == {"popularity", "ease", "sequential-words"}
    assert {line["expected"]["stage"] for line in lines} >= {"encode", "fit", "evaluate", "request"}
    for line in lines:
        if line["expected"]["stage"] == "fit" and line["plan"] != "sequential-words":
            assert line["expected"]["flops"] == line["actual"]["flops"]
    assert run(["costs", "calibrate", str(shop / "shop-run"), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corrections"] == {}


def test_calibration_corrects_the_profile(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["costs", "calibrate", str(shop / "shop-run")]) == 0
    assert "the profile is corrected" in capsys.readouterr().out
    assert run(["costs", "calibrate", str(shop / "shop-run"), "--dry-run", "--json"]) == 0
    kept = json.loads(capsys.readouterr().out)["corrections"]
    assert "ease.request" in kept
    assert kept["ease.request"] > 0
    assert run(["costs", "calibrate", str(shop / "shop-run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corrections"] == kept


def test_errors_of_a_reranked_plan_are_told_beside_its_recommender(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = shop / "ordered.toml"
    base = '{ plan = "popularity" }'
    own = f'name = "o"\nrecommender = {base}\nreranker = {{ component = "linear", retriever = {base} }}\n'
    config.write_text(CONFIG.replace(', "ease", "sequential-words"', "") + "[[plans.own]]\n" + own)
    assert run(["plan", str(config)]) == 0
    capsys.readouterr()
    assert run(["costs", "calibrate", str(shop / "ordered-run"), "--dry-run", "--json"]) == 0
    found = {e["key"]: e["n"] for e in json.loads(capsys.readouterr().out)["actual_over_expected"]}
    assert (found["popularity.request"], found["popularity+linear.request"]) == (1, 1)


def test_costs_of_a_run(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(shop / "shop-run")
    assert run(["costs", "show", folder]) == 0
    shown = capsys.readouterr().out
    for word in ("encode", "fit", "evaluate", "load data", "sequential-words", "USD"):
        assert word in shown
    assert run(["costs", "show", folder, folder, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["over_time"]) == 2
    assert run(["costs", "top", folder, "-n", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    for command in (["show", folder, folder], ["diff", folder, folder], ["top", folder]):
        page = shop / f"{command[0]}.html"
        assert run(["costs", *command, "--page", str(page)]) == 0
        assert "<svg" in page.read_text()


def test_a_gate_for_ci(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shop / "shop-run"
    assert run(["costs", "diff", str(folder), str(folder), "--fail-if", "+0% per_request"]) == 0
    grown = shop / "grown"
    grown.mkdir(exist_ok=True)
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    for line in lines:
        if line["name"] == "fit" and line["plan"] == "ease":
            line["cost"]["flops"] *= 1.5
    (grown / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(["costs", "diff", str(folder), str(grown), "--fail-if", "+5% per_refresh flops"]) == 1
    assert "ease: per_refresh flops grew by +50.0%" in capsys.readouterr().out
    assert run(["costs", "diff", str(folder), str(grown), "--fail-if", "5 percent"]) == 2


def test_a_gate_between_runs_of_different_data_must_be_meant(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, other = shop / "shop-run", shop / "other-data"
    shutil.copytree(folder, other)
    record = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(json.dumps(record | {"data": "0000"}))
    compared, gate = ["costs", "diff", str(folder), str(other)], ["--fail-if", "+5% per_refresh flops"]
    page = shop / "different.html"
    assert run([*compared, "--page", str(page)]) == 0
    for told in (capsys.readouterr().err, page.read_text()):
        assert f"different data (fingerprints {record['data']} and 0000)" in told
    assert run([*compared, *gate]) == 2
    shown = capsys.readouterr()
    assert "--accept-changes" in shown.err
    assert run([*compared, *gate, "--accept-changes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["different_data"] is True
    (other / "run.json").unlink()  # as folders of older versions: plan.toml has the fingerprint, of the same data
    assert run([*compared, *gate, "--page", str(page)]) == 0
    for told in (capsys.readouterr().err, page.read_text()):
        assert "different data" not in told


def test_energy_is_shown_as_an_estimate_where_the_run_kept_watts(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shop / "powered"
    shutil.copytree(shop / "shop-run", other)
    for watts in (None, 7.0):
        record = json.loads((other / "run.json").read_text()) | {"watts_a_core": watts}
        (other / "run.json").write_text(json.dumps(record))
        assert run(["costs", "show", str(other)]) == 0
        assert ("joules (estimate)" in capsys.readouterr().out) == (watts is not None)
        assert run(["costs", "show", str(other), "--json"]) == 0
        (shown,) = json.loads(capsys.readouterr().out)["runs"]
        for line in shown["by_stage"]:
            assert line["cost"]["joules"] is None, "nothing measured them"
            expected = None if watts is None else pytest.approx(7.0 * line["cost"]["cpu_seconds"])
            assert line["joules_estimate"] == expected


def test_emissions_are_of_the_machine_that_a_run_was_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shop / "elsewhere"
    shutil.copytree(shop / "shop-run", other)
    record = json.loads((other / "run.json").read_text())
    assert record["machine"]["processor"] == hardware()["processor"]
    assert record["watts_a_core"] is None, "the shop's profile knows no watts"
    changed = record | {"machine": record["machine"] | {"processor": "Z80"}, "watts_a_core": 7.0}
    (other / "run.json").write_text(json.dumps(changed))
    assert run(["costs", "export", str(other), "--format", "codecarbon"]) == 0
    (line,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (line["cpu_model"], line["cpu_power"]) == ("Z80", "7.0")
    assert float(line["energy_consumed"]) > 0


def test_a_run_that_goes_on_keeps_what_it_began_on(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, folder = shop / "again.toml", shop / "again-run"
    shutil.copytree(shop / "shop-run", folder)
    shutil.copy(shop / "shop.toml", config)
    began = json.loads((folder / "run.json").read_text())
    assert began["command"] == f"frugalrec plan {shop / 'shop.toml'}"
    changed = began | {"machine": began["machine"] | {"processor": "Z80"}, "watts_a_core": 7.0}
    (folder / "run.json").write_text(json.dumps(changed))
    assert run(["plan", str(config)]) == 0
    kept = json.loads((folder / "run.json").read_text())
    assert kept["machine"] == began["machine"]
    assert kept["command"] == f"frugalrec plan {config}"
    assert kept["started"] > began["started"]
    assert kept["earlier"] == [{name: value for name, value in changed.items() if name != "earlier"}]
    capsys.readouterr()
    assert run(["costs", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "on Z80" in shown
    assert "joules (estimate)" in shown
    assert run(["costs", "show", str(folder), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["runs"]
    assert [part["command"] for part in told["parts"]] == [began["command"], kept["command"]]


@pytest.mark.parametrize("form", ["focus", "otel", "codecarbon"])
def test_exports(shop: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["costs", "export", str(shop / "shop-run"), "--format", form]) == 0
    printed = capsys.readouterr().out
    assert run(["costs", "export", str(shop / "shop-run"), "--format", form, "--out", str(shop / form)]) == 0
    assert (shop / form).read_text() == printed
    assert json.loads(printed) if form == "otel" else list(csv.DictReader(io.StringIO(printed)))


def test_forecast(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--users", "100M", "--items", "5M", "--requests-per-second", "20k"]
    page = shop / "forecast.html"
    assert run(["forecast", "--run", str(shop / "shop-run"), *size, "--page", str(page)]) == 0
    shown = capsys.readouterr().out
    for word in (
        "breaks first",
        "assumed of plans:",
        "items a shard",
        "machines of 64 GiB for its memory",
        "a cell for each pair of items",
        "compiling the language model into weights saves",
        "order of magnitude",
    ):
        assert word in shown
    text = page.read_text()
    assert "<svg" in text
    assert "default-src &#x27;none&#x27;" in text
    assert run(["forecast", "--run", str(shop / "shop-run"), *size, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {r["plan"] for r in found["rows"]} >= {"ease", "popularity", "sequential-words"}
    assert found["assumptions"]["replicas"] == 2
    assert all(r["items_a_shard"] * r["item_shards"] == pytest.approx(5e6) for r in found["rows"] if r["machines"])


def test_a_forecast_on_several_machines_and_another_grid(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = shop / "two.toml"
    text = (resources.files("frugalrec") / "prices.toml").read_text()
    sheet.write_text(text + "norway = 0.03\n[machines.small]\nhour = 0.1\ncores = 2\nmemory_gib = 8\nwatts = 20\n")
    size = ["--users", "1k", "--items", "1k", "--requests-per-second", "5", "--prices", str(sheet)]
    on = ["--hardware", "small", "--hardware", "cpu-16", "--region", "norway", "--json"]
    assert run(["forecast", "--run", str(shop / "shop-run"), *size, *on]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {r["hardware"] for r in rows} == {"small", "cpu-16"}
    assert all(r["co2e_kg"] == pytest.approx(0.03 * r["kwh"]) for r in rows)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--requests-per-second", "0", "--requests-per-second must be a number above 0"),
        ("--requests-per-second", "-5", "--requests-per-second must be a number above 0"),
        ("--users", "many", "--users must be a number above 0, not 'many'"),
        ("--refresh", "never", "--refresh must be a number"),
        ("--region", "mars", "no carbon intensity of the region 'mars'"),
        ("--hardware", "tpu", "no machine 'tpu' on the price sheet"),
        ("--run", "nowhere", "no run to forecast from"),
    ],
)
def test_a_forecast_of_nothing_says_so(
    shop: Path, option: str, value: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--run": str(shop / "shop-run"), "--users": "1k", "--items": "1k", "--requests-per-second": "5"}
    given[option] = value
    assert run(["forecast", *(word for pair in given.items() for word in pair)]) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "hint:" in shown


@pytest.mark.filterwarnings("always")
def test_a_profile_from_elsewhere_warns(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shop / "elsewhere.json"
    rates = {kind: {1: ((1.0, 1e7),)} for kind in UNITS}
    Profile({"processor": "Z80", "cores": 1, "memory_gib": 0.1}, rates).save(path)
    assert run(["estimate", str(shop / "shop.toml"), "--profile", str(path), "--json"]) == 0
    shown = capsys.readouterr()
    (warning,) = [line for line in shown.err.splitlines() if "measured on Z80" in line]
    assert warning.startswith(f"warning: {path}: ")
    assert "Warning:" not in shown.err
    seconds = json.loads(shown.out)["plans"][1]["seconds"]
    assert seconds["high"] / seconds["low"] >= 15.9


def test_doctor_tells_of_the_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    assert "threads to take" in capsys.readouterr().out


def test_calibrations_add_up_until_they_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))
    calibrate = ["doctor", "--calibrate", "--seconds", "1"]
    assert run([*calibrate, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["calibrations"]) == 1
    assert run(calibrate) == 0
    assert "in the middle of the last 2 calibrations" in " ".join(capsys.readouterr().out.split())
    assert run([*calibrate, "--fresh", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["calibrations"]) == 1


def test_numbers_as_people_write_them() -> None:
    assert number_of("20k", "x") == 20_000
    assert number_of("1.5G", "x") == 1.5e9
    assert number_of("1e6", "x") == 1e6
    for text in ("", "k", "1kk", "0", "-3", "1.2.3", "nan", "inf"):
        with pytest.raises(ConfigError):
            number_of(text, "x")

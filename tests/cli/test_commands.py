"""The command line as its users meet it: results, exit codes, and what it says to wrong input."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from frugalrec import machine_profile
from frugalrec.cli._app import run
from frugalrec.encoders.static import Static
from frugalrec.testing.data import toy_dataset

CONFIG = """
[data]
interactions = "log.csv"
items = "items.csv"
text = ["title"]
[tuning]
seconds = 2
max_queries = 50
[evaluation]
timed_queries = 5
[plans]
only = ["chance", "popularity", "ease", "sequential", "content-words", "sequential-words"]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Return the folder of a small shop: log.csv, items.csv, shop.toml."""
    data = toy_dataset(n_users=60, n_items=30, seed=1, cold=3)
    log = data.interactions
    assert log.timestamp is not None
    with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user, item, at in zip(log.user, log.item, log.timestamp, strict=True):
            rows.writerow([f"ü{user:02}", data.catalog.items.ids[item], int(at)])
    with (tmp_path / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title"])
        rows.writerows(zip(data.catalog.items.ids, data.catalog.texts(), strict=True))
    (tmp_path / "shop.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a shop with a finished run in shop-run/."""
    folder = shop.__wrapped__(tmp_path_factory.mktemp("shop"))  # type: ignore[attr-defined]
    assert run(["plan", str(folder / "shop.toml")]) == 0
    return folder


def test_plan_prints_json_and_nothing_else(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(shop / "shop.toml"), "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert {"plan", "reason", "frontier", "language_model"} <= set(document["decision"])
    assert document["decision"]["plan"] in {t["plan"] for t in document["trials"]}
    for trial in document["trials"]:
        assert {"plan", "components", "settings", "quality", "slices", "cost", "verdict", "reason"} <= set(trial)
        assert set(trial["quality"]["ndcg@10"]) == {"mean", "low", "high", "n"}
        assert set(trial["slices"]) == {"warm", "cold", "tail"}
        assert {"once", "per_refresh", "per_request", "per_month"} <= set(trial["cost"])
        assert trial["cost"]["per_request"]["flops"] is not None
    assert "sequential" in said.err


def test_the_run_folder_holds_everything(finished: Path) -> None:
    folder = finished / "shop-run"
    for name in ("plan.toml", "trials.jsonl", "ledger.jsonl", "decision.json", "report.html"):
        assert (folder / name).stat().st_size > 0, name
    assert (folder / "report.html").stat().st_size < 2e6
    for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines():
        assert {"name", "plan", "phase", "cost"} <= set(json.loads(line))


def test_a_second_run_takes_finished_plans_as_they_are(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "shop-run" / "trials.jsonl").read_text(encoding="utf-8")
    assert run(["plan", str(finished / "shop.toml")]) == 0
    assert "already done" in capsys.readouterr().err
    assert (finished / "shop-run" / "trials.jsonl").read_text(encoding="utf-8") == before


def test_recommend_with_reasons(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(finished / "shop-run")
    assert run(["recommend", "--run", folder, "--user", "ü07", "-k", "3", "--explain", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["items"]) == 3
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert all("reason" in item for item in answer["items"])
    assert run(["recommend", "--run", folder, "--user", "ü07", "-k", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_unknown_user_is_told_what_the_plan_can_do(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recommend", "--run", str(finished / "shop-run"), "--user", "ü99"]) == 2
    said = capsys.readouterr().err
    assert "unknown user 'ü99'" in said
    assert "popularity" in said or "--text" in said


def test_words_alone_find_items_and_are_the_reason(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CONFIG[: CONFIG.index("only")] + 'only = ["content-words"]\n'
    (shop / "shop.toml").write_text(config, encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml")]) == 0
    capsys.readouterr()
    with (shop / "items.csv").open(encoding="utf-8") as file:
        wanted = list(csv.DictReader(file))[-1]["title"]  # of a cold item
    ask = ["recommend", "--run", str(shop / "shop-run"), "--text", wanted, "-k", "4", "--explain", "--json"]
    assert run(ask) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["items"][0]["title"].split()[0] == wanted.split()[0]
    assert wanted in answer["items"][0]["reason"]
    assert run([*ask, "--user", "ü07"]) == 0
    assert wanted in capsys.readouterr().out
    ask[ask.index(wanted)] = "?!"  # no word at all: a list of items in the order of the catalogue would be no answer
    assert run(ask) == 2
    assert "makes nothing of “?!”" in capsys.readouterr().err


def test_words_are_refused_where_nothing_would_read_them(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = """
[[plans.own]]
name = "drawn"
recommender = { component = "ease", encoder = { component = "bag-of-words" } }
"""
    config = CONFIG[: CONFIG.index("only")] + 'only = ["popularity"]\n' + own
    (shop / "shop.toml").write_text(config, encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml")]) == 0
    capsys.readouterr()
    assert run(["recommend", "--run", str(shop / "shop-run"), "--text", "a story"]) == 2
    assert "the plan 'drawn' does not read text" in capsys.readouterr().err


def test_run_refuses_changed_data_and_prices(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(shop / "shop.toml")]) == 0
    plan = str(shop / "shop-run" / "plan.toml")
    assert run(["run", plan]) == 0
    with (shop / "log.csv").open("a", encoding="utf-8") as file:
        file.write("ü00,item00,1700000000\n")
    capsys.readouterr()
    assert run(["run", plan]) == 2
    assert "data have changed" in capsys.readouterr().err
    assert run(["recommend", "--run", str(shop / "shop-run"), "--user", "ü00"]) == 2
    assert run(["run", plan, "--accept-changes"]) == 0
    assert run(["recommend", "--run", str(shop / "shop-run"), "--user", "ü00"]) == 0


def test_infeasible_budget_exits_with_1_and_names_the_nearest_miss(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = shop / "shop.toml"
    config.write_text(CONFIG + "[budget]\nmemory_gib = 1e-9\n[quality]\nfloor = 0.9\n", encoding="utf-8")
    assert run(["plan", str(config), "--json"]) == 1
    decision = json.loads(capsys.readouterr().out)["decision"]
    assert decision["plan"] is None
    assert "comes nearest" in decision["nearest_miss"]
    assert (shop / "shop-run" / "report.html").exists()
    assert not (shop / "shop-run" / "plan.toml").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("interactions =", "interaction ="), ["unknown key 'interaction'", "did you mean 'interactions'"]),
        (('"log.csv"', '"lag.csv"'), ["lag.csv"]),
        (("[tuning]", "[tunning]"), ["unknown key 'tunning'", "did you mean 'tuning'"]),
        (("seconds = 2", 'seconds = "two"'), ["tuning.seconds", "'two'"]),
        (("[tuning]", "[[tuning"), ["not valid TOML"]),
        (('"ease"', '"eese"'), ["unknown plan 'eese'", "did you mean 'ease'"]),
        (('["title"]', '["titel"]'), ["titel", "title"]),
        (("[tuning]", '[quality]\nmetric = "ndgc@10"\n[tuning]'), ["unknown metric 'ndgc'", "did you mean 'ndcg'"]),
        (("[tuning]", '[split]\nkind = "leave-last-aut"\n[tuning]'), ["did you mean 'leave-last-out'"]),
        (("[tuning]", "[split]\nmin_evnts = 4\n[tuning]"), ["min_evnts", "did you mean 'min_events'"]),
        (("[tuning]", '[quality]\nfloor = "close to best"\n[tuning]'), ["within 2% of best"]),
        (("[tuning]", '[prices]\nsheet = "none.toml"\n[tuning]'), ["none.toml"]),
    ],
)
def test_a_wrong_configuration_is_told(
    shop: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], expected: list[str]
) -> None:
    config = shop / "shop.toml"
    config.write_text(CONFIG.replace(*change), encoding="utf-8")
    assert run(["plan", str(config)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for part in expected:
        assert part in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", ["log.csv"]),
        ("user_id,item_id,timestamp\n", ["log.csv"]),
        ("usr_id,item_id\na,b\n", ["user_id", "usr_id"]),
        ("user_id,item_id,timestamp\na,item00,1\nb,item01,yesterday\n", ["log.csv", "timestamp", "yesterday", "3"]),
    ],
    ids=["empty", "header only", "missing column", "wrong type"],
)
def test_wrong_data_are_told(shop: Path, capsys: pytest.CaptureFixture[str], log: str, expected: list[str]) -> None:
    (shop / "log.csv").write_text(log, encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml")]) == 2
    said = capsys.readouterr().err
    for part in expected:
        assert part in said
    assert "Traceback" not in said


def test_bad_rows_can_be_skipped(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (shop / "log.csv").open("a", encoding="utf-8") as file:
        file.write("ü00,item00,yesterday\n")
    assert run(["plan", str(shop / "shop.toml")]) == 2
    assert "--on-bad-rows skip" in capsys.readouterr().err
    assert run(["plan", str(shop / "shop.toml"), "--on-bad-rows", "skip"]) == 0
    assert "yesterday" in capsys.readouterr().err


def test_an_unknown_component_of_an_own_plan_is_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = '[[plans.own]]\nname = "mine"\nrecommender = { component = "sequential-liner" }\n'
    (shop / "shop.toml").write_text(CONFIG + own, encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml")]) == 2
    assert "did you mean 'sequential-linear'" in capsys.readouterr().err


def test_own_plans_are_tried(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = '[[plans.own]]\nname = "short"\nrecommender = { component = "sequential-linear", half_lives = [1.0] }\n'
    (shop / "shop.toml").write_text(CONFIG + own, encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml"), "--json"]) == 0
    trials = {t["plan"]: t for t in json.loads(capsys.readouterr().out)["trials"]}
    assert trials["short"]["settings"]["recommender"]["half_lives"] == [1.0]


@pytest.mark.parametrize("arguments", [["plam"], ["plan", "a", "b"], ["recommend"], ["recommend", "--run"], []])
def test_wrong_use_exits_with_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


@pytest.mark.parametrize(
    "command", ["demo", "plan", "run", "recommend", "components", "doctor", "data", "data inspect", "assets"]
)
def test_every_command_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    assert "Example" in said
    assert f"frugalrec {command.split()[0]}" in said


def test_components_and_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["components", "--json"]) == 0
    found = {(c["kind"], c["name"]) for c in json.loads(capsys.readouterr().out)}
    assert {("recommender", "ease"), ("encoder", "onnx"), ("split", "cold-items")} <= found
    assert run(["components", "eese"]) == 2
    assert "did you mean 'ease'" in capsys.readouterr().err
    assert run(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["threads"] >= 1


def test_data_inspect(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "inspect", str(shop / "shop.toml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["users"], found["items"], found["items without events"]) == (60, 30, 3)
    assert run(["data", "inspect", "movielens-100q"]) == 2
    assert "did you mean 'movielens-100k'" in capsys.readouterr().err


def test_interrupted_it_decides_and_keeps_what_was_done(shop: Path) -> None:
    """Ctrl-C in the middle of a real process: the best so far, and the next run goes on from the finished plans."""
    command = [sys.executable, "-m", "frugalrec", "plan", str(shop / "shop.toml")]
    trials = shop / "shop-run" / "trials.jsonl"
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("chance: "):  # the first of six plans is done
            process.send_signal(signal.SIGINT)
            break
    answer, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted: deciding among what was finished" in said
    # The best so far is an answer like any other, and says what it is.
    assert "is the cheapest plan that is within 2% of best" in answer
    assert re.search(r"interrupted when \d of 6 plans were done", answer)
    assert (shop / "shop-run" / "report.html").exists()
    kept = trials.read_text(encoding="utf-8").count("\n")
    assert kept >= 1
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.count("already done") == kept


def test_a_warning_is_one_line_that_says_what_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path))
    old = machine_profile.path_of(machine_profile.hardware())
    old.parent.mkdir(parents=True)
    old.write_text("{}", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "frugalrec", "doctor"], capture_output=True, text=True, check=True)
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line.startswith(f"warning: {old}: this machine was measured for an earlier version")


def test_reports_escape_what_they_show(shop: Path) -> None:
    text = (shop / "items.csv").read_text(encoding="utf-8").splitlines()
    text[1] = text[1].split(",")[0] + ",<script>alert(1)</script>"
    (shop / "items.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    assert run(["plan", str(shop / "shop.toml")]) == 0
    assert "<script>alert" not in (shop / "shop-run" / "report.html").read_text(encoding="utf-8")


def test_numbers_of_a_run_are_reproducible(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def values() -> dict[str, float]:
        assert run(["plan", str(shop / "shop.toml"), "--json", "--fresh"]) == 0
        return {t["plan"]: t["quality"]["ndcg@10"]["mean"] for t in json.loads(capsys.readouterr().out)["trials"]}

    config = shop / "shop.toml"
    config.write_text(CONFIG.replace("seconds = 2", "seconds = 0"), encoding="utf-8")
    assert values() == values()
    assert np.isfinite(list(values().values())).all()


def test_distill_makes_an_encoder_that_plans_can_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f'{i},"story {i % 7} of valley {i % 11} and river {i}"' for i in range(80)]
    (tmp_path / "items.csv").write_text("\n".join(["item_id,title", *rows]), encoding="utf-8")
    (tmp_path / "shop.toml").write_text('[data]\nitems = "items.csv"\ninteractions = "sales.csv"\n', encoding="utf-8")
    sales = [f"u{i % 9},{i % 80},{i}" for i in range(200)]
    (tmp_path / "sales.csv").write_text("\n".join(["user_id,item_id,timestamp", *sales]), encoding="utf-8")
    words = ["[UNK]", "story", "of", "valley", "river", *map(str, range(80))]
    vocabulary = {word: i for i, word in enumerate(words)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(tmp_path / "tokenizer.json"))
    out = tmp_path / "encoder"
    given = ["--encoder", "bag-of-words", "--tokenizer", str(tmp_path / "tokenizer.json"), "--sample", "70", "--json"]
    assert run(["distill", str(tmp_path / "shop.toml"), "--out", str(out), *given]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["texts"] == 70
    assert told["held_out_cosine"] > 0.8
    vectors = Static(path=str(out)).encode(["story of valley 3", "valley 3", "river 70"])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert run(["distill", str(tmp_path / "shop.toml"), "--out", str(out), "--encoder", "nonsense"]) == 2
    assert "unknown encoder 'nonsense'" in capsys.readouterr().err

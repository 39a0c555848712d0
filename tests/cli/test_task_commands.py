"""``ask``, ``profile``, ``describe`` and the counterfactuals of ``recommend``, as their users meet them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from frugalrec.cli._app import run
from frugalrec.testing.data import toy_ratings
from frugalrec.testing.openai_server import served

CONFIG = """
[data]
interactions = "log.csv"
items = "items.csv"
text = ["title", "kind"]
[tuning]
seconds = 0
[evaluation]
timed_queries = 5
[plans]
only = ["popularity", "ease"]
"""


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a finished run over invented films with ratings."""
    folder = tmp_path_factory.mktemp("films")
    patch.setenv("FRUGALREC_CACHE", str(folder / "cache"))
    data = toy_ratings(n_users=30, n_items=12)
    log = data.interactions
    assert log.value is not None
    with (folder / "log.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "rating", "timestamp"])
        for i in range(len(log)):
            rows.writerow([f"u{log.user[i]}", f"i{log.item[i]}", log.value[i], 1_000_000 + i])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title", "kind"])
        for i in range(12):
            rows.writerow([f"i{i}", f"Film {chr(65 + i)} ({1980 + i})", "Comedy" if i % 2 else "Western"])
    (folder / "films.toml").write_text(CONFIG, encoding="utf-8")
    assert run(["plan", str(folder / "films.toml")]) == 0
    return folder / "films-run"


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert run([*arguments]) == code
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return found.out if code == 0 else found.err


def test_ask(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = json.loads(said(capsys, "ask", "a comedy from before 1985", "--run", str(shop), "--user", "u3", "--json"))
    assert {item["item"] for item in answer["items"]} == {"i1", "i3"}
    assert answer["constraints"]["ranges"] == [{"field": "year", "low": None, "high": 1984, "outside": False}]
    assert "6 of 12 match" in said(capsys, "ask", "how many westerns are there?", "--run", str(shop))
    assert "目录" in said(capsys, "ask", "恐怖片", "--run", str(shop))


def test_a_conversation(shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("comedies\n\nonly from 1990 on\nquit\nwesterns\n"))
    lines = said(capsys, "ask", "--run", str(shop), "-k", "2").splitlines()
    assert sum(line.startswith("Here are 2 of the 6") for line in lines) == 1
    assert "The one that matches (Comedy, from 1990):" in lines
    assert not any("Western" in line for line in lines)


def test_profile(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "profile", "--user", "u2", "--run", str(shop), "--json"))
    assert found["user"] == "u2"
    cited = {
        each["item"] for part in ("themes", "likes", "dislikes", "drift") for c in found[part] for each in c["evidence"]
    }
    assert cited <= {f"i{i}" for i in range(12)}
    assert "User u2:" in said(capsys, "profile", "--user", "u2", "--run", str(shop))


def test_describe(shop: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = said(capsys, "describe", "--item", "i1", "--run", str(shop))
    assert "Film B (1981): Comedy." in text
    out = tmp_path / "d.jsonl"
    assert said(capsys, "describe", "--all", "--run", str(shop), "--out", str(out)).strip() == str(out)
    before = out.read_text(encoding="utf-8")
    assert len(before.splitlines()) == 12
    said(capsys, "describe", "--all", "--run", str(shop), "--out", str(out))
    assert out.read_text(encoding="utf-8") == before
    assert "Comedy" in said(capsys, "describe", "--item", "i1", "--run", str(shop), "--language", "zh", "--json")


def test_counterfactuals_of_recommend(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What is chosen, and how, hangs on what there was time to tune; of ten users some lists hang on one event.
    told: list[str] = []
    for user in range(10):
        asked = "recommend", "--user", f"u{user}", "--run", str(shop), "--explain", "--json"
        told += [item["counterfactual"] for item in json.loads(said(capsys, *asked))["items"]]
    assert all(each == "" or re.match(r"without Film .* this would be rank \d+$", each) for each in told)
    assert any(told) == ('component = "ease"' in (shop / "plan.toml").read_text(encoding="utf-8"))


def test_a_model_over_http_needs_a_price_and_keeps_to_the_cap(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served() as server:
        server.text = "Film B is a Comedy."
        llm = f'{{ component = "http", url = "{server.url}", model = "tiny" }}'
        told = ["describe", "--item", "i1", "--run", str(shop), "--llm"]
        assert "no token price for 'tiny'" in said(capsys, *told, llm, code=2)
        assert server.requests == []
        free = llm.replace(" }", ', price = "unknown" }')
        assert "cannot be kept" in said(capsys, *told, free, "--lm-dollars", "1", code=2)
        assert server.requests == []
        assert said(capsys, *told, free) == "Film B is a Comedy.\n"
        assert said(capsys, *told, free) == "Film B is a Comedy.\n"
        assert len(server.requests) == 1  # what was written is remembered


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["ask", "x", "--run", "none"], "none: no finished run is there"),
        (["ask", "x", "--user", "u99"], "unknown user 'u99'"),
        (["ask", "x", "--language", "fr"], "--language must be en or zh"),
        (["profile", "--user", "u99"], "did you mean 'u9'"),
        (["profile", "--user", "u2", "--llm", "lama-cpp"], "did you mean 'llama-cpp'"),
        (["profile", "--user", "u2", "--llm", "http"], "the llm 'http' needs 'url'"),
        (["profile", "--user", "u2", "--llm", "{ http }"], "not a table in TOML"),
        (["describe"], "give --item ID, or --all"),
        (["describe", "--all", "--item", "i1"], "give --item ID, or --all"),
        (["describe", "--item", "i99"], "unknown item 'i99'"),
        (["describe", "--item", "i1", "--out", "x"], "--out goes with --all"),
        (["describe", "--item", "i1", "--language", "fr"], "language must be one of en, zh"),
    ],
)
def test_wrong_use_is_told(shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    where = [] if "--run" in arguments else ["--run", str(shop)]
    assert expected in said(capsys, *arguments, *where, code=2)


@pytest.mark.parametrize("command", ["ask", "profile", "describe"])
def test_every_command_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"frugalrec {command} " in said(capsys, command, "--help")

"""``frugalrec assets`` with a small asset that is fetched from a local folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from frugalrec import assets
from frugalrec.assets import Asset, AssetFile, Url, Variant
from frugalrec.cli.assets import app
from frugalrec.errors import AssetError, UnknownNameError

DATA = b"user\titem\n" * 100_000
runner = CliRunner()


@pytest.fixture(autouse=True)
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Register two assets, and return a folder that has the files of both."""
    monkeypatch.setenv("FRUGALREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FRUGALREC_OFFLINE", raising=False)
    sources = (Url("https://me:hunter2@never.invalid/asked"),)
    file = AssetFile("toy.data", hashlib.sha256(DATA).hexdigest(), len(DATA), sources)
    known = {
        name: Asset(name, "dataset", f"the {name}", "free for all", (Variant("plain", (file,)),))
        for name in ("toy-one", "toy-two")
    }
    monkeypatch.setattr(assets, "ASSETS", known)
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "toy.data").write_bytes(DATA)
    return folder


def test_list_shows_size_licence_and_what_is_cached(given: Path) -> None:
    before = runner.invoke(app, ["list"])
    assert before.exit_code == 0
    assert before.stdout.count("not cached") == 2
    assert "1.0 MB" in before.stdout
    assert "licence: free for all" in before.stdout
    runner.invoke(app, ["fetch", "toy-one", "--path", str(given)])
    after = runner.invoke(app, ["list"])
    assert after.stdout.count("not cached") == 1
    assert "cached as plain" in after.stdout


def test_list_json_is_one_document_without_secrets(given: Path) -> None:
    fetched = assets.fetch("toy-two", path=given, notify=lambda line: None)
    listed = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    assert [(entry["name"], entry["cached"], entry["folder"]) for entry in listed] == [
        ("toy-one", False, None),
        ("toy-two", True, str(fetched.folder)),
    ]
    assert listed[1]["variants"][0]["files"] == [
        {
            "name": "toy.data",
            "size_bytes": len(DATA),
            "sha256": hashlib.sha256(DATA).hexdigest(),
            "sources": ["https://***@never.invalid/asked"],
        }
    ]


def test_fetch_prints_folders_on_stdout_and_the_licence_on_stderr(given: Path, tmp_path: Path) -> None:
    result = runner.invoke(app, ["fetch", "toy-one", "toy-two", "--path", str(given)])
    assert result.exit_code == 0
    roots = tmp_path / "cache" / "assets"
    assert result.stdout.splitlines() == [str(roots / "toy-one" / "plain"), str(roots / "toy-two" / "plain")]
    assert "licence: free for all" in result.stderr
    again = runner.invoke(app, ["fetch", "toy-one", "--offline"])
    assert again.stdout.splitlines() == [str(roots / "toy-one" / "plain")]
    assert again.stderr == ""


def test_errors_come_up_as_they_are() -> None:
    offline = runner.invoke(app, ["fetch", "toy-one", "--offline"])
    assert isinstance(offline.exception, AssetError)
    assert "frugalrec assets fetch toy-one" in offline.exception.hint
    unknown = runner.invoke(app, ["fetch", "toy-on"])
    assert isinstance(unknown.exception, UnknownNameError)
    assert "toy-one" in unknown.exception.hint


def test_verify_checks_all_that_is_cached_and_names_what_is_wrong(given: Path) -> None:
    assert "nothing is cached" in runner.invoke(app, ["verify"]).stderr
    runner.invoke(app, ["fetch", "toy-one", "--path", str(given / "missing")])
    assert "nothing is cached" in runner.invoke(app, ["verify"]).stderr
    for name in ("toy-one", "toy-two"):
        runner.invoke(app, ["fetch", name, "--path", str(given)])
    good = runner.invoke(app, ["verify"])
    assert good.exit_code == 0
    assert good.stdout.splitlines() == ["toy-one: ok (plain, 1 files)", "toy-two: ok (plain, 1 files)"]
    assets.fetch("toy-one").files["toy.data"].write_bytes(DATA[:-1])
    bad = runner.invoke(app, ["verify"])
    assert bad.stdout.splitlines() == ["toy-one: FAILED", "toy-two: ok (plain, 1 files)"]
    assert isinstance(bad.exception, AssetError)
    assert "toy.data is corrupt" in bad.exception.message


def test_remove_says_what_it_freed(given: Path) -> None:
    runner.invoke(app, ["fetch", "toy-one", "--path", str(given)])
    result = runner.invoke(app, ["remove", "toy-one", "toy-two"])
    assert result.stdout.splitlines() == ["toy-one: removed, 1.0 MB", "toy-two: was not cached"]
    assert runner.invoke(app, ["list"]).stdout.count("not cached") == 2


@pytest.mark.parametrize("command", [[], ["list"], ["fetch"], ["verify"], ["remove"]])
def test_help_teaches_with_examples(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "frugalrec assets" in result.stdout
    assert "Example" in result.stdout


def test_wrong_use_ends_with_2() -> None:
    assert runner.invoke(app, ["fetch"]).exit_code == 2
    assert runner.invoke(app, ["list", "--jsno"]).exit_code == 2

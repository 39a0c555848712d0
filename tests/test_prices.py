from __future__ import annotations

from pathlib import Path

import pytest

from frugalrec.cost import Cost
from frugalrec.errors import ConfigError, PriceError
from frugalrec.prices import PriceSheet

SHEET = """
currency = "EUR"
machine = "4 cores"
machine_hour = 0.36
cores = 4
memory_gib = 16
source = "a bill"
date = 2025-06-01
gpu_hour = 3.6
[tokens."small-model"]
in = 1.0
out = 4.0
"""


def sheet(tmp_path: Path, text: str = SHEET) -> PriceSheet:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return PriceSheet.load(path)


def test_the_sheet_that_comes_along_is_dated_and_sourced() -> None:
    prices = PriceSheet.load()
    assert prices.source
    assert prices.date
    assert prices.price(Cost(cpu_seconds=3600 * prices.cores, gpu_seconds=0.0)) == pytest.approx(prices.machine_hour)


def test_time_becomes_money(tmp_path: Path) -> None:
    prices = sheet(tmp_path)
    assert prices.date == "2025-06-01"
    # 100 core seconds at 0.36 / 4 an hour, 10 GPU seconds at 3.6 an hour.
    assert prices.price(Cost(cpu_seconds=100.0, gpu_seconds=0.0)) == pytest.approx(0.0025)
    assert prices.price(Cost(cpu_seconds=100.0, gpu_seconds=10.0)) == pytest.approx(0.0125)
    assert prices.price(Cost.zero()) == 0.0


def test_unknown_time_has_no_price(tmp_path: Path) -> None:
    prices = sheet(tmp_path)
    assert prices.price(Cost(cpu_seconds=None, gpu_seconds=0.0)) is None
    assert prices.price(Cost(cpu_seconds=1.0, gpu_seconds=None)) is None


def test_gpu_time_without_a_price_is_refused(tmp_path: Path) -> None:
    prices = sheet(tmp_path, SHEET.replace("gpu_hour = 3.6", ""))
    with pytest.raises(PriceError, match="no 'gpu_hour'") as caught:
        prices.price(Cost(cpu_seconds=1.0, gpu_seconds=1.0))
    assert "gpu_hour" in caught.value.hint


def test_tokens_become_money(tmp_path: Path) -> None:
    prices = sheet(tmp_path)
    assert prices.price_tokens("small-model", tokens_in=2e6, tokens_out=1e6) == pytest.approx(6.0)
    assert prices.price_tokens("small-model", tokens_in=1e6) == pytest.approx(1.0)


def test_tokens_without_a_price_are_refused(tmp_path: Path) -> None:
    prices = sheet(tmp_path)
    with pytest.raises(PriceError, match="no token price for 'large-model'") as caught:
        prices.price_tokens("large-model", tokens_in=1)
    assert '[tokens."large-model"]' in caught.value.hint
    with pytest.raises(PriceError, match="'cached' is missing"):
        prices.price_tokens("small-model", tokens_in=1, tokens_cached=1)


def test_the_fingerprint_changes_with_any_price(tmp_path: Path) -> None:
    changed = [SHEET, SHEET.replace("0.36", "0.37"), SHEET.replace("out = 4.0", "out = 4.1"), SHEET.replace("3.6", "4")]
    assert len({sheet(tmp_path, text).fingerprint() for text in changed}) == 4
    assert sheet(tmp_path).fingerprint() == sheet(tmp_path, "# a comment\n" + SHEET).fingerprint()


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("machine_hour", "machine_huor", "unknown key 'machine_huor'", "did you mean 'machine_hour'?"),
        ("currency", "zzz", "unknown key 'zzz'", "known: carbon, cores, currency"),
        ('source = "a bill"', "", "lacks source", ""),
        ("0.36", '"0.36"', "'machine_hour' must be a number of at least 0, not '0.36'", ""),
        ("0.36", "true", "'machine_hour' must be a number", ""),
        ("0.36", "-0.1", "'machine_hour' must be a number of at least 0, not -0.1", ""),
        ("3.6\n", "nan\n", "'gpu_hour' must be a number", ""),
        ("3.6\n", "inf\n", "'gpu_hour' must be a number", ""),
        ("cores = 4\n", "cores = 0\n", "'cores' must be above 0", ""),
        ('"EUR"', "978", "'currency' must be text, not 978", ""),
        ('[tokens."small-model"]', "[tokens]", "'tokens' must be a table a model", 'write [tokens."the model"]'),
        ("out = 4.0", 'out = "dear"', "out = 'dear'", ""),
        ("out = 4.0", "output = 4.0", "output = 4.0", ""),
        ("currency =", "currency ", "not valid TOML", ""),
    ],
)
def test_a_wrong_sheet_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str, hint: str) -> None:
    assert old in SHEET
    with pytest.raises(ConfigError) as caught:
        sheet(tmp_path, SHEET.replace(old, new, 1))
    assert str(tmp_path / "prices.toml") in caught.value.message
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_sheet_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the price sheet: No such file"):
        PriceSheet.load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes("currency = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot read the price sheet"):
        PriceSheet.load(tmp_path / "latin.toml")

"""Tables of a price sheet: machines, currencies, carbon, tokens of a list."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from frugalrec.errors import ConfigError, MissingExtraError, PriceError
from frugalrec.prices import PriceSheet

SHEET = """
currency = "EUR"
machine = "one"
machine_hour = 0.1
cores = 2
memory_gib = 8
source = "a bill"
date = "2026-01-01"
region = "fr"
[machines.big]
hour = 2.0
currency = "USD"
cores = 64
memory_gib = 512
[tokens.dear]
in = 10.0
out = 20.0
currency = "USD"
[rates]
USD = 0.9
[carbon]
fr = 0.05
"""


def sheet(folder: Path, text: str) -> PriceSheet:
    path = folder / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return PriceSheet.load(path)


def test_prices_in_other_currencies_are_exchanged(tmp_path: Path) -> None:
    prices = sheet(tmp_path, SHEET)
    assert prices.hardware("big").hour == pytest.approx(1.8)
    assert prices.price_tokens("dear", tokens_in=1e6, tokens_out=1e6) == pytest.approx(27.0)
    assert prices.carbon_of() == 0.05
    assert prices.carbon_of("fr") == 0.05


def test_a_currency_without_a_rate_is_an_error(tmp_path: Path) -> None:
    prices = sheet(tmp_path, SHEET.replace("USD = 0.9", "GBP = 1.1"))
    for ask in (lambda: prices.hardware("big"), lambda: prices.price_tokens("dear", tokens_in=1.0)):
        with pytest.raises(PriceError, match="in USD, the sheet in EUR") as caught:
            ask()
        assert "[rates]" in caught.value.hint


def test_a_grid_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match="carbon intensity of the region 'mars'"):
        sheet(tmp_path, SHEET).carbon_of("mars")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("USD = 0.9", "USD = 0", "[rates] USD must be a rate above 0"),
        ("USD = 0.9", "USD = -1", "[rates] USD"),
        ("fr = 0.05", 'fr = "low"', "[carbon] fr"),
        ("hour = 2.0", "hours = 2.0", "unknown key 'hours'"),
        ("hour = 2.0\n", "", "lacks hour"),
        ("hour = 2.0", "hour = nan", "hour must be a number"),
        ("cores = 64", "cores = 0", "needs cores"),
        ('region = "fr"', "region = 3", "'region' must be text"),
        ('region = "fr"', 'tokens_from = "hearsay"', "'tokens_from' must be"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in SHEET
    with pytest.raises(ConfigError) as caught:
        sheet(tmp_path, SHEET.replace(old, new, 1))
    assert told in caught.value.message
    assert "prices.toml" in caught.value.message


def test_tokens_of_a_published_list(tmp_path: Path) -> None:
    prices = sheet(tmp_path, 'tokens_from = "genai-prices"\n' + SHEET)
    assert prices.price_tokens("dear", tokens_in=1e6) == pytest.approx(9.0)  # what the sheet says goes first
    if importlib.util.find_spec("genai_prices") is None:
        with pytest.raises(MissingExtraError, match="genai-prices"):
            prices.price_tokens("openai/gpt-4o-mini", tokens_in=1.0)
        return
    assert prices.price_tokens("openai/gpt-4o-mini", tokens_in=1e6) > 0
    # Its list has two prices for this one, the dearer for requests of more than 200,000 tokens.
    sonnet = prices.price_tokens("anthropic/claude-sonnet-4-5", tokens_in=1e6, tokens_out=1e6, tokens_cached=1e6)
    assert sonnet == pytest.approx((3.0 + 15.0 + 0.3) * 0.9)
    with pytest.raises(PriceError):
        prices.price_tokens("no-such-model-anywhere", tokens_in=1.0)


def test_the_sheet_that_comes_along_has_machines_and_carbon() -> None:
    prices = PriceSheet.load()
    assert prices.hardware("cpu-16").cores == 16
    assert prices.hardware("gpu-h100").gpus == 1
    assert prices.carbon_of() > 0


def test_prices_have_a_day_and_tokens_a_source_of_their_own(tmp_path: Path) -> None:
    prices = sheet(tmp_path, SHEET.replace("[rates]", 'source = "their page"\ndate = 2026-02-01\n[rates]'))
    assert prices.price_tokens("dear", tokens_in=1e6) == pytest.approx(9.0)
    assert len(prices.fingerprint()) == 16
    dated = sheet(tmp_path, SHEET.replace("cores = 64", "cores = 64\ndate = 2026-02-01"))
    assert dated.hardware("big").date == "2026-02-01"
    assert len(dated.fingerprint()) == 16
    with pytest.raises(ConfigError, match="'date' must be a day, not 'last spring'"):
        sheet(tmp_path, SHEET.replace("2026-01-01", "last spring"))


def test_whose_a_machine_is_is_yes_or_no(tmp_path: Path) -> None:
    assert sheet(tmp_path, SHEET.replace("cores = 64", "cores = 64\nown = true")).hardware("big").own
    with pytest.raises(ConfigError, match="own must be true or false, not 'yes'"):
        sheet(tmp_path, SHEET.replace("cores = 64", 'cores = 64\nown = "yes"'))


def test_the_sheet_that_comes_along_knows_several_grids() -> None:
    prices = PriceSheet.load()
    assert 0.02 < prices.carbon_of("sweden") < prices.carbon_of("germany") < prices.carbon_of("india") < 1.0

"""Nothing is spent beyond the cap, whoever asks at the same time, and nothing unknown counts as zero."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frugalrec.cost import Cost, Ledger, with_context
from frugalrec.errors import BudgetError, ConfigError, PriceError
from frugalrec.prices import PriceSheet
from frugalrec.spending import Rate, SpendCap, computing, metering, purchase

SHEET = replace(PriceSheet.load(), tokens={"big": {"in": 1.0, "out": 4.0, "cached": 0.1}})
MILLION = 1e6


def spent(call) -> Cost:
    ledger = Ledger()
    with ledger.span("call"):
        call()
    return ledger.total()


def buy(tokens_in: float, tokens_out: float = 0.0, *, actual: float | None = None, cached: float = 0.0, **more) -> None:
    with purchase("big", tokens_in=tokens_in, tokens_out=tokens_out, **more) as bought:
        bought.settle(tokens_in=tokens_in if actual is None else actual, tokens_out=tokens_out, tokens_cached=cached)


def test_reserved_settled_and_refused() -> None:
    cap = SpendCap(10.0)
    with cap.reserve(6.0) as first:
        assert (cap.reserved, cap.left) == (6.0, 4.0)
        with pytest.raises(BudgetError, match=r"may cost up to 5; of the cap of 10, 0 are spent and 6 reserved"):
            cap.reserve(5.0)
        first.settle(2.0)
    assert (cap.spent, cap.reserved, cap.left, cap.refusals) == (2.0, 0.0, 8.0, 1)
    with cap.reserve(8.0):
        pass  # not settled: it may have been billed
    assert cap.spent == 10.0
    with pytest.raises(BudgetError):
        cap.reserve(0.0)


def test_what_never_happened_is_released() -> None:
    cap = SpendCap(1.0)
    with cap.reserve(1.0) as reservation:
        reservation.release()
    assert (cap.spent, cap.left) == (0.0, 1.0)


def test_a_call_that_fails_counts_in_full() -> None:
    cap = SpendCap(1.0)
    with pytest.raises(RuntimeError), cap.reserve(0.7):
        raise RuntimeError
    assert cap.spent == 0.7


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 100)), min_size=1, max_size=60),
    st.integers(1, 2_000),
    st.integers(0, 1_000),
)
def test_threads_never_spend_beyond_the_cap(calls: list[tuple[int, int]], limit: int, seed: int) -> None:
    """Each call reserves an upper bound and settles a part of it; a watcher looks at the cap all the while."""
    cap = SpendCap(float(limit))
    settled: list[float] = []
    highest = [0.0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            with cap._lock:
                highest[0] = max(highest[0], (cap._spent or 0.0) + cap._reserved)

    def work(call: tuple[int, int]) -> None:
        bound, percent = call
        try:
            reservation = cap.reserve(float(bound))
        except BudgetError:
            return
        with reservation:
            time.sleep(random.Random(seed).random() / 5_000)
            actual = bound * percent / 100
            reservation.settle(actual)
            settled.append(actual)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, calls))
    stop.set()
    watcher.join()
    assert cap.spent == pytest.approx(sum(settled))
    assert cap.reserved == pytest.approx(0.0, abs=1e-9)
    assert cap.spent <= limit + 1e-9
    assert highest[0] <= limit + 1e-9
    assert len(settled) + cap.refusals == len(calls)


def test_tokens_are_priced_and_charged() -> None:
    with metering(SHEET, SpendCap(10.0)) as cap:
        cost = spent(lambda: buy(2 * MILLION, MILLION, actual=MILLION, cached=MILLION / 2))
    assert cost.fees == pytest.approx(0.5 * 1.0 + 0.5 * 0.1 + 4.0)
    assert cap.spent == pytest.approx(4.55)
    assert SHEET.price(replace(cost, cpu_seconds=0.0)) == pytest.approx(4.55)


def test_a_price_that_is_not_on_the_sheet_is_an_error() -> None:
    expected = pytest.raises(PriceError, match="no token price for 'small'")
    with metering(SHEET), expected, purchase("small", tokens_in=1):
        pytest.fail("the call was made")


def test_an_unknown_price_makes_sums_unknown_and_cannot_be_capped() -> None:
    with metering(SHEET) as cap:
        cost = spent(lambda: (buy(1.0), buy(1.0, price="unknown"), buy(1.0)))
    assert cost.fees is None
    assert SHEET.price(cost) is None
    assert cap.spent is None
    with metering(SHEET, SpendCap(1.0)), pytest.raises(BudgetError, match="is unknown, so that a cap of 1"):
        buy(1.0, price="unknown")
    with pytest.raises(ConfigError, match="price must be left out or 'unknown', not 'cheap'"):
        buy(1.0, price="cheap")


def test_without_a_meter_money_is_unknown() -> None:
    assert spent(lambda: buy(10.0)).fees is None
    assert spent(lambda: None).fees == 0.0


def test_no_call_is_made_at_the_cap() -> None:
    made = 0
    with metering(SHEET, SpendCap(3.0)) as cap:
        for _ in range(5):
            try:
                with purchase("big", tokens_in=MILLION) as bought:
                    made += 1
                    bought.settle(tokens_in=MILLION)
            except BudgetError:
                continue
    assert (made, cap.spent, cap.refusals) == (3, 3.0, 2)


def test_threads_share_the_meter_with_context() -> None:
    with metering(SHEET, SpendCap(2.0)) as cap, ThreadPoolExecutor(4) as pool:
        found = [pool.submit(with_context(lambda: buy(MILLION))) for _ in range(6)]
        errors = [f.exception() for f in found]
    assert cap.spent == 2.0
    assert sum(isinstance(e, BudgetError) for e in errors) == 4


def test_computing_at_home_counts_too() -> None:
    dear = replace(SHEET, machine_hour=3600.0 * 1000)  # a thousand a second for two cores
    rate = Rate()

    def work() -> None:
        with computing("home", 100, rate):
            sum(range(200_000))

    with metering(dear, SpendCap(0.001)) as cap:
        work()  # the first has no rate yet
        assert cap.spent > 0.001
        with pytest.raises(BudgetError):
            work()
    with metering(dear, SpendCap(1e9)) as cap:
        work()
        assert 0 < cap.spent < 1e9
        assert cap.reserved == 0


def test_a_cap_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "spent.jsonl"
    cap = SpendCap(5.0, path=path)
    cap.reserve(2.0).settle(1.5)
    assert SpendCap(5.0, path=path).spent == 1.5
    with path.open("a", encoding="utf-8") as file:
        file.write("[0.")  # killed in the middle of a line
    assert SpendCap(5.0, path=path).spent is None
    path.write_text("1.5\nnull\n", encoding="utf-8")
    assert SpendCap(5.0, path=path).spent is None


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cap_must_be_one(limit: float) -> None:
    with pytest.raises(ConfigError, match="a spend cap must be above 0"):
        SpendCap(limit)

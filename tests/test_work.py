"""Work and expected amounts: how they add up."""

from __future__ import annotations

from frugalrec.work import ANSWERED, UNITS, Expected, Work, answering


def test_stages_one_after_another() -> None:
    first = Expected((Work("stream", 2.0),), 10.0, 1.0, 0.0, peak_bytes=100.0, held_bytes=60.0)
    then = Expected((Work("rows", 3.0),), 5.0, 2.0, 0.0, peak_bytes=50.0, held_bytes=5.0, spread=2.0)
    both = first + then
    assert both.work == (Work("stream", 2.0), Work("rows", 3.0))
    assert (both.flops, both.tokens_in, both.held_bytes, both.spread) == (15.0, 3.0, 65.0, 2.0)
    assert both.peak_bytes == 110.0  # what the first holds is there while the second runs


def test_unknown_is_not_zero() -> None:
    both = Expected.nothing() + Expected()
    assert both.work is None
    assert both.flops is None
    assert both.peak_bytes is None
    assert (Expected() + Expected.nothing()).times(3).work is None


def test_repetition_takes_no_more_memory() -> None:
    once = Expected((Work("stream", 2.0, 7.0),), 10.0, 4.0, 1.0, 100.0, 60.0)
    thrice = once.times(3)
    assert thrice.work == (Work("stream", 6.0, 7.0),)
    assert (thrice.flops, thrice.tokens_in, thrice.tokens_out) == (30.0, 12.0, 3.0)
    assert (thrice.peak_bytes, thrice.held_bytes) == (100.0, 60.0)


def test_answers_from_catalogues_beyond_those_measured_grow_with_the_items() -> None:
    (small,) = answering(100.0).work or ()
    (large,) = answering(10.0 * ANSWERED).work or ()
    assert small.amount == 1.0
    assert large.amount == 10.0
    assert small.kind in UNITS

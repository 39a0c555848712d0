import numpy as np
import pytest

from frugalrec.errors import ConfigError, DataError
from frugalrec.gating import gain_curve

RNG = np.random.default_rng(0)
BEFORE = RNG.random(400)
GAINS = np.where(np.arange(400) < 40, 0.4, np.where(np.arange(400) < 80, -0.1, 0.0))


def test_the_best_first_keep_everything_and_more():
    curve = gain_curve(BEFORE, BEFORE + GAINS, GAINS, shares=(0.05, 0.1, 1.0))
    assert [p.kept for p in curve.points] == pytest.approx([8 / 12, 16 / 12, 1.0])
    for point in curve.points:
        assert point.low - 1e-9 <= point.kept <= point.high + 1e-9
    assert (curve.points[-1].low, curve.points[-1].high) == pytest.approx((1.0, 1.0))
    assert "10% of the requests keep 133%" in str(curve)


def test_a_gate_that_knows_nothing_keeps_its_share():
    kept = [
        gain_curve(BEFORE, BEFORE + GAINS, np.random.default_rng(s).random(400), (0.3,)).points[0].kept
        for s in range(20)
    ]  # fmt: skip
    assert np.mean(kept) == pytest.approx(0.3, abs=0.1)


def test_what_is_done_instead_keeps_its_own_part():
    half = BEFORE + np.where(GAINS > 0, GAINS / 2, 0.0)  # another order gains half, and never loses
    curve = gain_curve(BEFORE, BEFORE + GAINS, GAINS, shares=(0.0, 0.1, 1.0), otherwise=half)
    assert [p.kept for p in curve.points] == pytest.approx([8 / 12, 16 / 12, 1.0])
    same = gain_curve(BEFORE, BEFORE + GAINS, GAINS, shares=(0.0, 0.2), otherwise=BEFORE + GAINS)
    assert [(p.kept, p.low, p.high) for p in same.points] == [pytest.approx((1.0, 1.0, 1.0))] * 2
    none = gain_curve(BEFORE, BEFORE + GAINS, GAINS, shares=(0.0,))
    assert [(p.kept, p.low, p.high) for p in none.points] == [pytest.approx((0.0, 0.0, 0.0))]


@pytest.mark.parametrize("gains", [-GAINS, np.where(np.arange(400) == 7, 0.1, 0.0), np.zeros(400)])
def test_where_no_gain_is_shown_nothing_is_drawn(gains):
    curve = gain_curve(BEFORE, BEFORE + gains, gains)
    assert curve.points == ()
    assert "no gain is shown" in str(curve)


def test_shares_are_checked():
    with pytest.raises(ConfigError, match="from 0 to 1"):
        gain_curve(BEFORE, BEFORE + GAINS, GAINS, shares=(1.5,))
    with pytest.raises(DataError, match="two requests"):
        gain_curve(BEFORE[:1], BEFORE[:1], GAINS[:1])

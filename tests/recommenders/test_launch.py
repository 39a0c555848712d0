import numpy as np
import pytest

from frugalrec.recommenders._launch import Side, follow_back, ideal_gain, knots_of, segments, trade


def side(terms, chosen, ideal=None):
    n, depth = chosen.shape
    ideal = np.ones(n) if ideal is None else ideal
    return Side(terms.reshape(n, depth, -1), np.ones((n, 1)), chosen, np.ones_like(chosen), ideal)


def test_the_worth_of_items_is_how_often_they_were_right():
    random = np.random.default_rng(0)
    one, two = random.choice([0.0, 1.0], size=(2, 8000, 10))
    chosen = random.random(one.shape) < 0.05 * np.where(one > 0, 2.0, 1.0) * np.where(two > 0, 4.0, 1.0)
    weights = side(np.stack([one, two], axis=2), chosen).regression(0.0)
    np.testing.assert_allclose(np.exp(weights), [2.0, 4.0, 0.05], rtol=0.1)


def test_an_item_is_worth_more_where_little_was_to_find():
    chosen = np.tile([[True], [False]], (500, 1))
    listed = side(np.zeros(1000), chosen, np.full(1000, 2.0))
    assert listed.worth(listed.regression(0.0)) == pytest.approx(np.full((1000, 1), np.log(0.25)), abs=1e-3)


def test_a_score_that_says_nothing_rises_as_little_as_it_must():
    random = np.random.default_rng(0)
    scores = random.normal(size=(2000, 10))
    weights = side(scores, random.random(scores.shape) < 0.4 * (scores < 0)).regression(0.1)
    assert weights[0] == pytest.approx(0.1)


def test_nothing_is_learned_where_nothing_was_chosen():
    assert side(np.zeros(30), np.zeros((3, 10), dtype=bool)).regression(0.0) is None


def test_the_likeliest_ten_are_kept():
    terms = np.arange(12.0)
    (kept,) = side(terms, np.zeros((1, 12), dtype=bool)).best(np.array([2.0, 0.0])).terms[:, :, 0]
    assert kept.tolist() == list(range(11, 1, -1))


def test_a_curve_bends_at_its_knots_and_can_be_followed_back():
    knots, slopes = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 0.5, 4.0])
    values = np.array([-2.0, 0.0, 0.5, 1.0, 2.0, 3.0, 5.0])
    heights = segments(values, knots) @ slopes
    assert heights.tolist() == [-2.0, 0.0, 1.0, 2.0, 2.5, 3.0, 11.0]
    np.testing.assert_allclose(follow_back(heights, knots, slopes), values)


def test_no_two_knots_are_equal():
    assert (np.diff(knots_of(np.zeros(50))) > 0).all()


def test_what_places_cost_by_hand():
    """One user found the first of ten warm items, a second user the last; each has one cold item to place."""
    warm_worth = np.tile(-np.arange(10.0), (2, 1))
    chosen = np.zeros((2, 10), dtype=bool)
    chosen[0, 0] = chosen[1, 9] = True
    warm = side(np.zeros(20), chosen)
    cold = side(np.zeros(2), np.zeros((2, 1), dtype=bool))
    boosts, losses = trade(warm, warm_worth, cold, np.zeros((2, 1)))
    first, second, last = 1.0, 1 / np.log2(3), 1 / np.log2(11)
    whole = first + last
    assert losses[boosts < -9.01].max() == 0.0
    assert losses[(boosts > -8.9) & (boosts < -0.1)] == pytest.approx(last / whole)
    assert losses[boosts > 0.1] == pytest.approx((last + first - second) / whole)


def test_the_gain_of_a_perfect_list():
    truth = np.zeros((3, 20), dtype=bool)
    truth[1, :2], truth[2, :15] = True, True
    assert ideal_gain(truth) == pytest.approx([0.0, 1 + 1 / np.log2(3), (1 / np.log2(np.arange(2, 12))).sum()])

import numpy as np

from frugalrec.cost import Cost
from frugalrec.rerankers._pairs import Pairs

PRICE = Cost(flops=5.0, tokens_in=2.0)


def test_gives_back_what_was_said_to_the_bit_and_its_price():
    pairs = Pairs(10)
    pairs.put((3,), [7, 8], np.array([0.1, -2.0]), PRICE)
    assert pairs.get((3,), [8, 9, 7]) == [(-2.0, PRICE), None, (0.1, PRICE)]
    assert pairs.get((4,), [7]) == [None]
    assert pairs.get((3, 3), [7]) == [None]


def test_histories_not_asked_for_the_longest_go_first():
    pairs = Pairs(4)
    for item in (1, 2):
        pairs.put((item,), [7, 8], np.zeros(2), PRICE)
    pairs.get((1,), [7])
    pairs.put((3,), [7, 8], np.zeros(2), PRICE)
    assert len(pairs) == 4
    assert pairs.get((2,), [7]) == [None]
    assert pairs.get((1,), [7]) == [(0.0, PRICE)]


def test_never_more_than_its_size():
    pairs = Pairs(3)
    pairs.put((1,), range(9), np.zeros(9), PRICE)
    assert len(pairs) == 0
    pairs.put((1,), [5], np.zeros(1), PRICE)
    pairs.put((1,), [5], np.ones(1), PRICE)
    assert len(pairs) == 1
    assert pairs.get((1,), [5]) == [(1.0, PRICE)]

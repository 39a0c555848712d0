"""The contract catches a component that lies about what it costs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from frugalrec.data.shape import DataShape
from frugalrec.recommenders.ease import Ease
from frugalrec.testing.data import toy_dataset
from frugalrec.testing.recommenders import (
    expected_flops_are_those_charged,
    expected_flops_of_requests_are_those_charged,
)
from frugalrec.work import Stages


@dataclass(repr=False)
class Lying(Ease):
    """EASE that says it takes ``fits`` times what a fit takes, and ``asked`` times what a request takes."""

    fits: float = 1.0
    asked: float = 1.0

    def expected(self, shape: DataShape) -> Stages:
        honest = super().expected(shape)
        assert honest.fit.flops is not None
        assert honest.score.flops is not None
        return replace(
            honest,
            fit=replace(honest.fit, flops=honest.fit.flops * self.fits),
            score=replace(honest.score, flops=honest.score.flops * self.asked),
        )


def test_who_is_honest_passes() -> None:
    data = toy_dataset(n_users=30, n_items=24)
    expected_flops_are_those_charged(Lying, data)
    expected_flops_of_requests_are_those_charged(Lying, data)


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_who_lies_does_not(factor: float) -> None:
    data = toy_dataset(n_users=30, n_items=24)
    with pytest.raises(AssertionError, match="FLOPs, charged"):
        expected_flops_are_those_charged(lambda: Lying(fits=factor), data)
    with pytest.raises(AssertionError, match="FLOPs a request, charged"):
        expected_flops_of_requests_are_those_charged(lambda: Lying(asked=factor), data)

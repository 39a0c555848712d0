import pytest
from report_samples import decided, dozen

from frugalrec.evaluation import Trial
from frugalrec.planner import Decision


@pytest.fixture(scope="session")
def trials() -> list[Trial]:
    return dozen()


@pytest.fixture(scope="session")
def decision(trials: list[Trial]) -> Decision:
    return decided(trials)

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from scipy import sparse

from frugalrec.cost import Ledger
from frugalrec.data.dataset import Query
from frugalrec.errors import MissingExtraError
from frugalrec.recommenders.als import Als
from frugalrec.testing.data import checkerboard, toy_dataset


def codes(*items):
    return np.array(items, dtype=np.int32)


def test_without_implicit_the_extra_is_named(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtraError, match=r"frugalrec\[als\]"):
        Als().fit(checkerboard())


@pytest.mark.skipif(find_spec("implicit") is None, reason="needs the extra 'als'")
class TestWithImplicit:
    @pytest.mark.parametrize("alpha", [1.0, 3.0])
    def test_checkerboard(self, alpha):
        dataset = checkerboard(50)
        als = Als(factors=3, alpha=alpha, regularization=0.0).fit(dataset)
        lists = als.recommend([dataset.query(user) for user in range(50)], k=1)
        assert [ranking.items[0] for ranking in lists] == list(range(50))

    @pytest.mark.parametrize("alpha", [1.0, 4.0])
    def test_folding_in_agrees_with_implicit(self, alpha):
        from implicit.cpu.als import AlternatingLeastSquares

        dataset = toy_dataset(n_users=40)
        als = Als(factors=8, alpha=alpha, regularization=0.5, seed=4).fit(dataset)
        peer = AlternatingLeastSquares(
            factors=8, alpha=alpha, regularization=0.5, iterations=15, random_state=4, num_threads=1
        )
        histories = sparse.csr_matrix(dataset.interactions.matrix())
        peer.fit(histories, show_progress=False)
        np.testing.assert_allclose(als.item_factors_, peer.item_factors, rtol=1e-3, atol=1e-4)
        taste = peer.recalculate_user(np.arange(40), histories)
        scores = als.score([dataset.query(user) for user in range(40)])
        np.testing.assert_allclose(scores, taste @ peer.item_factors.T, rtol=1e-2, atol=1e-3)

    def test_half_life_makes_older_events_less_wanted(self):
        als = Als(factors=8, alpha=2.0, half_life=1.0).fit(toy_dataset())
        Y = als.item_factors_.astype(np.float64)
        system = Y.T @ Y + als.regularization * np.eye(8) + Y[[3, 5]].T @ Y[[3, 5]]
        expected = Y @ np.linalg.solve(system, 2.0 * (0.5 * Y[3] + Y[5]))
        np.testing.assert_allclose(als.score([Query(history=codes(3, 5))])[0], expected, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("alpha", [1.0, 4.0])
    def test_reasons_add_up_to_the_score(self, alpha):
        als = Als(factors=8, alpha=alpha, half_life=2.0).fit(toy_dataset())
        query = Query(history=codes(3, 5))
        (reasons,) = als.explain(query, codes(4))
        system = np.linalg.inv(als.gram_ + (alpha - 1) * als.item_factors_[[3, 5]].T @ als.item_factors_[[3, 5]])
        parts = alpha * np.array([2**-0.5, 1.0]) * (als.item_factors_[[3, 5]] @ system @ als.item_factors_[4])
        assert parts.sum() == pytest.approx(als.score([query])[0, 4], rel=1e-3)
        shares = dict(zip([3, 5], parts / np.abs(parts).sum(), strict=True))
        assert {r.item: pytest.approx(r.share, abs=1e-4) for r in reasons} == {i: s for i, s in shares.items() if s > 0}

    def test_fitting_is_silent(self, capfd, recwarn):
        Als(factors=4).fit(checkerboard())
        assert capfd.readouterr() == ("", "")
        assert not recwarn.list

    @pytest.mark.parametrize(("alpha", "own"), [(1.0, 4**3 / 3), (2.0, 2 * 4**3 / 3 + 2 * 16 * 5)])
    def test_flops(self, alpha, own):
        dataset = checkerboard(6)  # 12 choices: 6 users and 6 items, all of them in some
        ledger = Ledger()
        with ledger.span("fit"):
            als = Als(factors=4, alpha=alpha, iterations=3).fit(dataset)
        with ledger.span("score"):
            als.score([Query(history=codes(0, 2)), Query(history=codes(1, 3, 5))])
        fit, score = (entry.cost.flops for entry in ledger.entries)
        assert fit == 3 * (2 * 16 * 12 + 4 * (2 * 16 * 12 + 4 * 4 * 24))
        assert score == pytest.approx(own + 2 * (2 * 16 + 2 * 4 * 6) + 2 * 4 * 5)

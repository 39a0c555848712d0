import numpy as np
import pytest

from frugalrec.errors import ConfigError
from frugalrec.plan import Plan
from frugalrec.recommenders.content import Content
from frugalrec.recommenders.ease import Ease
from frugalrec.recommenders.item_knn import ItemKnn
from frugalrec.recommenders.popularity import Popularity
from frugalrec.recommenders.text_mapping import NEIGHBOURS, TextMapping
from frugalrec.testing.data import checkerboard, toy_dataset
from frugalrec.testing.encoders import HashEncoder


def without(data, *items):
    """Return ``data`` with ``items`` cold."""
    events = data.interactions
    return data.with_interactions(events.take(~np.isin(events.item, items)))


class Counting(ItemKnn):
    """Remembers the events it was fitted to."""

    def fit(self, dataset):
        self.fits = [*getattr(self, "fits", []), dataset.interactions]
        return super().fit(dataset)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ridge": 0.0}, "ridge must be above 0"),
        ({"warm_loss": 1.0}, "warm_loss must be at least 0 and below 1"),
        ({"launched": 0.5}, "launched must be above 0 and at most 0.3"),
        ({"max_users": 0}, "max_users must be at least 1"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        TextMapping(ItemKnn(), HashEncoder(), **settings)


@pytest.mark.parametrize("warm_loss", [0.0, 0.5])
def test_a_cold_item_goes_to_those_whose_items_read_like_it(warm_loss):
    data = without(checkerboard(20), 18, 19)
    model = TextMapping(ItemKnn(), HashEncoder(), ridge=0.1, warm_loss=warm_loss).fit(data)
    scores = model.score([data.query(4), data.query(5)])
    assert scores[0, 18] > scores[1, 18]
    assert scores[1, 19] > scores[0, 19]
    for user in (4, 5):
        assert model.score([data.query(user)])[0, [18, 19]].argmax() == user % 2


def test_predicted_scores_by_hand():
    data = without(checkerboard(8), 6, 7)
    model = TextMapping(Ease(ridge=1.0), HashEncoder(), ridge=0.5, whitening=0.0).fit(data)
    model.trade_ = model.trade_[:, :0]  # not placed: as predicted
    query = data.query(0)
    own = model.member.score([query])[0].astype(np.float64)
    E, warm = model.vectors_.astype(np.float64), np.arange(6)
    middle = np.median(own[warm])
    target = own[warm] - middle
    weights = np.linalg.solve(E[warm].T @ E[warm] + 0.5 * np.eye(E.shape[1]), E[warm].T @ target)
    np.testing.assert_allclose(model.score([query])[0, [6, 7]], middle + E[[6, 7]] @ weights, rtol=1e-4)


def test_warm_items_keep_the_members_scores():
    data = toy_dataset(n_users=80, n_items=40, cold=4)
    model = TextMapping(Ease(), HashEncoder(), warm_loss=0.2).fit(data)
    queries = [data.query(user) for user in range(10)]
    np.testing.assert_array_equal(model.score(queries)[:, :36], Ease().fit(data).score(queries)[:, :36])


def test_a_larger_loss_allows_more_cold_items():
    data = toy_dataset(n_users=200, n_items=60, cold=8)
    model = TextMapping(Ease(ridge=10.0), HashEncoder()).fit(data)
    queries = [data.query(user) for user in range(200)]
    shown = []
    for model.warm_loss in (0.0, 0.05, 0.3, 0.9):
        lists = np.stack([ranking.items for ranking in model.recommend(queries, 10)])
        shown.append(float((lists >= 52).mean()))
    assert shown == sorted(shown)
    assert shown[0] < 0.05 < 0.3 < shown[-1]


def test_the_cap_holds_on_users_of_the_same_kind():
    data = toy_dataset(n_users=800, n_items=60, cold=6, seed=3)
    events = data.interactions
    held = np.random.default_rng(5).random(len(events)) < 0.1
    model = TextMapping(Ease(ridge=10.0), HashEncoder(), warm_loss=0.1, launched=0.12).fit(
        data.with_interactions(events.take(~held))
    )
    queries = [data.with_interactions(events.take(~held)).query(int(user)) for user in events.user[held]]

    def quality(scores):
        for row, query in enumerate(queries):
            scores[row, query.history] = -np.inf
        better = (scores > scores[np.arange(len(queries)), events.item[held]][:, None]).sum(axis=1)
        return np.where(better < 10, 1 / np.log2(better + 2), 0.0).mean()

    mixed = quality(model.score(queries))
    alone = model.score(queries)
    alone[:, 54:] = -np.inf
    assert 0.01 < 1 - mixed / quality(alone) < 0.12


def test_a_launch_is_rehearsed_only_where_there_are_cold_items():
    warm = Counting()
    TextMapping(warm, HashEncoder()).fit(toy_dataset(n_items=30))
    assert len(warm.fits) == 1
    rehearsed = Counting()
    data = toy_dataset(n_items=30, cold=3)
    TextMapping(rehearsed, HashEncoder()).fit(data)
    first, last = rehearsed.fits
    assert np.array_equal(last.item, data.interactions.item)
    launched = (first.popularity == 0) & (data.interactions.popularity > 0)
    assert launched.sum() >= 2
    assert 0.8 < len(first) / data.interactions.popularity[~launched].sum() < 1.0


def test_a_catalogue_without_warm_items_is_answered():
    data = without(toy_dataset(n_items=10), *range(10))
    assert np.isfinite(TextMapping(Popularity(), HashEncoder()).fit(data).score([data.query(0)])).all()


def test_a_cold_item_is_explained_by_the_history_that_reads_like_it():
    data = without(checkerboard(20), 18, 19)
    model = TextMapping(Ease(ridge=10.0), HashEncoder(), ridge=0.1).fit(data)
    own, cold = model.explain(data.query(4), np.array([4, 18], dtype=np.int32))
    assert own == Ease(ridge=10.0).fit(data).explain(data.query(4), np.array([4], dtype=np.int32))[0]
    assert cold
    assert all(reason.item % 2 == 0 for reason in cold)


def test_words_are_read_where_the_member_reads_them():
    assert not TextMapping(ItemKnn(), HashEncoder()).reads_words
    assert TextMapping(Content(HashEncoder()), HashEncoder()).reads_words


def test_terms_of_a_cold_item_by_hand():
    """Its prediction seen from the tenth best, neighbours met and what is said of them, and the cosine."""
    data = without(checkerboard(40), 38, 39)
    model = TextMapping(Ease(ridge=1.0), HashEncoder(), ridge=0.5, whitening=0.0).fit(data)
    query = data.query(3)
    own = model.member.score([query])
    asked = model._asked(own, [query])
    (predicted,), ((first, _),) = model._terms(own, [query], asked)
    E, said = model.vectors_.astype(np.float64), own[0].astype(np.float64)
    middle = np.median(said[:38])
    width = said[:38].max() - middle
    left = np.sort(np.delete(said[:38], query.history))[::-1]
    weights = np.maximum(E[:38] @ E[38], 0.0) ** 4
    assert len(weights) <= NEIGHBOURS
    weights /= weights.sum() + 0.1
    tenth = max(left[9] - middle, 0.0) + 1e-3 * width
    profile = E[query.history].sum(axis=0)
    by_hand = [
        np.log((max(predicted[0] - middle, 0.0) + 1e-3 * width) / tenth),
        np.log(weights[query.history].sum() + 0.02),
        np.log(max(weights @ (said[:38] - middle) / width, 0.0) + 0.02),
        profile @ E[38] / np.linalg.norm(profile),
    ]
    np.testing.assert_allclose(first, by_hand, rtol=2e-3, atol=2e-3)


def test_a_placed_score_is_worth_as_much_as_a_warm_one_of_that_score():
    data = toy_dataset(n_users=60, n_items=40, cold=4)
    model = TextMapping(Ease(ridge=10.0), HashEncoder()).fit(data)
    queries = [data.query(user) for user in range(5)]
    asked = model._asked(model.member.score(queries), queries)
    worth = np.random.default_rng(0).normal(-3.0, 0.5, size=(5, 7))
    knots, weights = np.array([-2.0, -0.5]), np.array([1.5, 0.5, 2.0, 0.3, -0.2, 0.1])
    scores = asked.scores(worth, knots, weights)
    above = scores > asked.middle
    assert above.any()
    np.testing.assert_allclose(asked.worth(scores, knots, weights)[above], worth[above], rtol=1e-3)


def test_a_saved_plan_answers_like_the_fitted_one(tmp_path):
    data = toy_dataset(n_users=60, n_items=30, cold=3)
    plan = Plan.from_dict(
        {
            "name": "new",
            "recommender": {
                "component": "text-mapping",
                "member": {"component": "ease"},
                "encoder": {"component": "bag-of-words"},
                "warm-loss": 0.1,
            },
        }
    )
    fitted = plan.build().fit(data)
    fitted.save(tmp_path)
    query = data.query(3)
    np.testing.assert_allclose(plan.build().load(tmp_path).score([query]), fitted.score([query]), rtol=1e-6)

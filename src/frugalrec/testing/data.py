"""Small data sets with known answers."""

from __future__ import annotations

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions

DAY_SECONDS = 86_400.0
START_SECONDS = 1_600_000_000.0


def checkerboard(n: int = 10) -> Dataset:
    """Return ``n`` users and ``n`` items where even users chose every even item, odd users every odd one.

    Nobody chose the item with their own number, so that item is what each user ``u`` should get first: the known
    answer of every collaborative model (the fixture comes from implicit). The texts say "even" or "odd" and agree.

    >>> data = checkerboard(6)
    >>> data.query(0).history.tolist()
    [2, 4]
    """
    user, item = np.nonzero((np.add.outer(np.arange(n), np.arange(n)) % 2 == 0) & ~np.eye(n, dtype=bool))
    items = _ids("item", n)
    events = Interactions.from_events(user.astype(np.int32), item.astype(np.int32), _ids("user", n), items)
    return Dataset(events, _catalog(items, [f"{('even', 'odd')[i % 2]} square" for i in range(n)]), "checkerboard")


def toy_dataset(
    n_users: int = 60,
    n_items: int = 40,
    seed: int = 0,
    *,
    timestamps: bool = True,
    text: bool = True,
    cold: int = 0,
    length: int = 12,
) -> Dataset:
    """Return users who mostly walk along a ring of items: item ``i`` is followed by ``i + 1`` three times out of four.

    Otherwise a user jumps to any item, low numbers more often, so that popularity says something too. The last ``cold``
    of the ``n_items`` items have text but no events. Events of a user are a day apart. Texts name the item's
    neighbourhood of five on the ring, so that text tells neighbours from strangers. Nobody meets an item twice.

    >>> data = toy_dataset(n_users=5, n_items=20, cold=2)
    >>> data.n_items, int((data.interactions.popularity[-2:]).sum())
    (20, 0)
    """
    rng = np.random.default_rng(seed)
    warm = n_items - cold
    jump = 1.0 / np.arange(1, warm + 1)
    users, met = [], []
    for user in range(n_users):
        walk = [int(rng.choice(warm, p=jump / jump.sum()))]
        while len(walk) < min(length, warm):
            step = (walk[-1] + 1) % warm
            if rng.random() > 0.75 or step in walk:
                free = np.setdiff1d(np.arange(warm), walk)
                step = int(rng.choice(free, p=jump[free] / jump[free].sum()))
            walk.append(step)
        users += [user] * len(walk)
        met += walk
    day = np.concatenate([np.arange(min(length, warm))] * n_users) if n_users else np.empty(0)
    items = _ids("item", n_items)
    events = Interactions.from_events(
        np.array(users, dtype=np.int32),
        np.array(met, dtype=np.int32),
        _ids("user", n_users),
        items,
        timestamp=START_SECONDS + day * DAY_SECONDS if timestamps else None,
    )
    texts = [f"story number {i} from valley {i // 5}" for i in range(n_items)]
    return Dataset(events, _catalog(items, texts) if text else Catalog(items), "toy")


def long_tailed(n_users: int, n_items: int, length: int, seed: int = 0) -> Dataset:
    """Return ``length`` events of each user, the i-th item in proportion to i^-0.7; texts of twelve of 4,000 words.

    Nothing can be learned from them, but they are quickly made: for costs at size.

    >>> data = long_tailed(100, 50, 20)
    >>> data.n_items, len(data.interactions)
    (50, 2000)
    """
    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, n_items + 1) ** 0.7
    item = rng.choice(n_items, size=n_users * length, p=share / share.sum()).astype(np.int32)
    user = np.repeat(np.arange(n_users), length).astype(np.int32)
    items = _ids("item", n_items)
    texts = [" ".join(f"word{w}" for w in rng.integers(0, 4000, 12)) for _ in range(n_items)]
    events = Interactions.from_events(user, item, _ids("user", n_users), items)
    return Dataset(events, _catalog(items, texts), "long-tailed")


def toy_ratings(n_users: int = 40, n_items: int = 20, seed: int = 0, *, share: float = 0.5) -> Dataset:
    """Return ratings of 1 to 5 where users differ in generosity, items in quality, and tastes come in two kinds.

    Even users like even items better, odd users odd ones. Each pair is rated with probability ``share``; the last item
    is rated by nobody, nor does the last user rate anything.

    >>> data = toy_ratings()
    >>> data.interactions.value.min(), data.interactions.value.max()
    (np.float32(1.0), np.float32(5.0))
    """
    rng = np.random.default_rng(seed)
    taste = np.where(np.add.outer(np.arange(n_users), np.arange(n_items)) % 2 == 0, 1.0, -1.0)
    liking = 3 + taste + rng.normal(0, 0.5, (n_users, 1)) + rng.normal(0, 0.5, n_items)
    rated = rng.random((n_users, n_items)) < share
    rated[-1], rated[:, -1] = False, False
    user, item = np.nonzero(rated)
    items = _ids("item", n_items)
    values = np.clip(np.rint(liking), 1, 5)[user, item].astype(np.float32)
    events = Interactions.from_events(
        user.astype(np.int32), item.astype(np.int32), _ids("user", n_users), items, value=values
    )
    return Dataset(events, Catalog(items), "toy ratings")


def _ids(what: str, n: int) -> IdMap:
    return IdMap([f"{what}-{i}" for i in range(n)], what=what)


def _catalog(items: IdMap, titles: list[str]) -> Catalog:
    return Catalog(items, {"title": titles}, text=("title",))


__all__ = ["checkerboard", "long_tailed", "toy_dataset", "toy_ratings"]

"""A small catalogue of invented films, and people who watched them."""

from __future__ import annotations

import numpy as np

from frugalrec.data.catalog import Catalog
from frugalrec.data.dataset import Dataset
from frugalrec.data.ids import IdMap
from frugalrec.data.interactions import Interactions

ROWS = (
    # title, genre, people, country, minutes
    ("Night Train (1951)", "Crime | Drama", "Ada Stone", "France", "95"),
    ("Night Train (1987)", "Comedy", "Bo Li", "France", "101"),
    ("Quiet Valley, The (1978)", "Western | Drama", "Ada Stone | Cy Park", "Italy", "120"),
    ("Moon Kids (1994)", "Sci-Fi | Comedy | Children's", "Bo Li", "Japan", "88"),
    ("Red Harvest (1994)", "Crime", "Cy Park", "Japan", "130"),
    ("Paper Hearts (1962)", "Romance | Comedy", "Dee Moss", "Italy", "99"),
    ("Laugh Again (1985)", "Comedy", "Dee Moss | Bo Li", "France", "91"),
    ("Star Dust (2001)", "Sci-Fi", "Ada Stone", "Japan", "140"),
    ("天空之城 Castle (1986)", "Animation | Children's", "Miya", "Japan", "124"),
    ("It (1990)", "Horror", "Cy Park", "Italy", ""),
)
TITLES = [row[0] for row in ROWS]


def films(ratings: bool = False) -> Dataset:
    """Return ten films; users 0 to 5 like comedies, 6 to 11 the rest, user 12 has no events."""
    items = IdMap([f"f{i}" for i in range(len(ROWS))], what="item")
    columns = dict(
        zip(("title", "genre", "people", "country", "minutes"), map(list, zip(*ROWS, strict=True)), strict=True)
    )
    catalog = Catalog(items, columns, ("title", "genre"))
    comic = [i for i, row in enumerate(ROWS) if "Comedy" in row[1]]
    other = [i for i in range(len(ROWS) - 1) if i not in comic]  # nobody has watched the last
    user, item, value = [], [], []
    for u in range(12):
        chosen = comic if u < 6 else other
        left_out = chosen[u % len(chosen)]
        for i in chosen:
            if i != left_out:
                user.append(u)
                item.append(i)
                value.append(5.0 if i % 2 == u % 2 else 2.0)
    n = len(user)
    events = Interactions.from_events(
        np.array(user, dtype=np.int32),
        np.array(item, dtype=np.int32),
        IdMap([f"u{i}" for i in range(13)], what="user"),
        items,
        value=np.array(value, dtype=np.float32) if ratings else None,
        timestamp=1e9 + 86_400.0 * np.arange(n),
    )
    return Dataset(events, catalog, "films")

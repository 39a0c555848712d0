from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frugalrec.config import parse_config
from frugalrec.cost import Ledger
from frugalrec.data.splits.leave_last_out import LeaveLastOut
from frugalrec.looks import Looks
from frugalrec.narrowing import Looked
from frugalrec.plan import Plan, Spec
from frugalrec.rungs import Growth, Rung
from frugalrec.testing.data import toy_dataset

SPLIT = LeaveLastOut().split(toy_dataset(n_users=120, n_items=24))
SEQUENTIAL = Plan("sequential", Spec("sequential-linear"))
TWIN = Plan("sequential-text", Spec("sequential-linear", {"encoder": Spec("hashed-words")}))


def looks_of(tmp_path: Path, *plans: Plan, seconds: float = 60.0, members: frozenset[str] = frozenset()) -> Looks:
    config = parse_config({"data": {"interactions": "x.csv"}}, "a test")
    return Looks({p.name: p for p in plans}, members, config, seconds, "of a test", tmp_path / "search.jsonl", Ledger())


def rung(share: float) -> Rung:
    return Rung(SPLIT, share, lambda plan, rung: Growth(4.0, 2.0))


def test_a_look_is_kept_and_taken_up_with_what_it_took(tmp_path: Path) -> None:
    looks = looks_of(tmp_path, SEQUENTIAL)
    looked, ready = looks.look(SEQUENTIAL, rung(1.0), 0, 2.0, 5.0, None, {})
    assert ready is not None
    assert looked.ready
    assert ready.fits(looked.plan)
    assert (looked.growth, looked.query_growth, looked.share) == (4.0, 2.0, 1.0)
    assert looked.mean > 0
    assert [e.plan for e in looks.ledger.entries] == ["sequential (search)"]
    later = looks_of(tmp_path, SEQUENTIAL)
    left = later.left
    again, model = later.look(SEQUENTIAL, rung(1.0), 0, 2.0, 5.0, None, {})
    assert model is None  # it went with the run that fitted it
    assert again.plan == looked.plan
    assert again.ready
    assert left - later.left == pytest.approx(looked.cpu_seconds, abs=0.2)
    assert not later.ledger.entries


def test_on_a_part_of_the_users_no_model_is_ready(tmp_path: Path) -> None:
    looked, ready = looks_of(tmp_path, SEQUENTIAL).look(SEQUENTIAL, rung(0.5), 0, 1.0, 5.0, None, {})
    assert ready is None
    assert not looked.ready
    assert {note["share"] for note in looked.tried} == {0.5}


def test_another_step_share_or_plan_is_another_look(tmp_path: Path) -> None:
    looks = looks_of(tmp_path, SEQUENTIAL, TWIN)
    keys = {
        looks._key(plan.name, share, step) for plan in (SEQUENTIAL, TWIN) for share in (0.5, 1.0) for step in (0, 1)
    }
    assert len(keys) == 8
    other = replace(SEQUENTIAL, recommender=Spec("sequential-linear", {"ridge": 7.0}))
    assert looks_of(tmp_path, other, TWIN)._key("sequential", 0.5, 0) not in keys


def test_a_plan_begins_with_what_was_found_before_and_a_twin_with_what_was_found_without_text(tmp_path: Path) -> None:
    looks = looks_of(tmp_path, SEQUENTIAL, TWIN)
    found = Spec("sequential-linear", {"ridge": 7.0, "target_half_life": 2.0})
    one = Looked(replace(SEQUENTIAL, recommender=found), np.ones(2), 1.0, 0.0, 1.0, fits=4.0)
    assert looks._start(SEQUENTIAL, None, {}) == {}
    assert looks._start(SEQUENTIAL, one, {}) == {"ridge": 7.0, "target_half_life": 2.0}
    # After one fit nothing of the sums was searched: they are open still.
    assert looks._start(SEQUENTIAL, replace(one, fits=1.0), {}) == {"ridge": 7.0}
    assert looks._start(TWIN, None, {"sequential": one}) == {"ridge": 7.0, "target_half_life": 2.0}


def test_what_others_are_built_of_stays_on_the_rung(tmp_path: Path) -> None:
    whole = rung(1.0)
    looks_of(tmp_path, SEQUENTIAL, members=frozenset({"sequential"})).look(SEQUENTIAL, whole, 0, 1.0, 5.0, None, {})
    assert len(whole.fitted) == 1


def test_what_comes_after_looks_is_spent_when_it_is_asked_for(tmp_path: Path) -> None:
    looks = looks_of(tmp_path)
    looks.note("judged", 40.0)
    later = looks_of(tmp_path)
    assert later.left == pytest.approx(60.0, abs=1.0)
    assert not later.taken("fitted")
    assert later.taken("judged")
    assert later.left == pytest.approx(20.0, abs=1.0)

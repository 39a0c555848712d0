from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from frugalrec.look_files import NUMBERS, line_of, lines_of, looked_of
from frugalrec.narrowing import Looked
from frugalrec.plan import Plan, Spec

LOOK = Looked(
    Plan("a", Spec("ease", {"ridge": 30.0})),
    np.array([0.5, np.nan, 0.25]),
    1.0,
    0.002,
    3.0,
    growth=4.0,
    share=0.5,
    stopped_at="ridge",
    fits=2.0,
    setting_seconds=1.5,
    tried=({"settings": {"ridge": 30.0}, "value": 0.375},),
    ready=True,
    query_growth=2.0,
)


def test_a_look_comes_back_from_its_line(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    path.write_text(json.dumps({"key": "k", **line_of(LOOK)}) + "\n", encoding="utf-8")
    back = looked_of(lines_of(path)["k"])
    np.testing.assert_array_equal(back.values, LOOK.values)
    known = {f.name for f in fields(Looked)} - {"values"}
    assert {n: getattr(back, n) for n in known - {"tried"}} == {n: getattr(LOOK, n) for n in known - {"tried"}}
    assert list(back.tried) == list(LOOK.tried)
    assert set(NUMBERS) < known


def test_a_line_of_an_earlier_version_is_read_as_far_as_it_goes() -> None:
    line = line_of(LOOK)
    del line["query_growth"]
    back, as_known = looked_of(line), replace(LOOK, query_growth=1.0)
    assert back.whole_query_seconds == pytest.approx(as_known.whole_query_seconds)
    assert back.growth == LOOK.growth


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "search.jsonl"
    assert lines_of(path) == {}
    whole = json.dumps({"key": "k", **line_of(LOOK)})
    path.write_text(f'{whole}\n{{"key": "other"}}\n{whole[:40]}', encoding="utf-8")
    assert set(lines_of(path)) == {"k"}

"""Descriptions say what the catalogue and the log say, in so many words, once."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_films import films

from frugalrec.cost import Ledger
from frugalrec.errors import ConfigError, DataError
from frugalrec.tasks.describe import Describer
from frugalrec.tasks.grounding import ungrounded
from frugalrec.testing.llms import UnigramModel

DATA = films(ratings=True)


class _Says(UnigramModel):
    text = ""
    calls = 0

    def generate(self, prompts, **_):  # type: ignore[no-untyped-def]
        self.calls += len(prompts)
        return [self.text for _ in prompts]


def test_the_template_says_attributes_and_audience() -> None:
    (found,) = Describer(DATA, max_words=100).describe([5])
    assert found.source == "template"
    for part in ("Paper Hearts (1962)", "Comedy, Romance", "people: Dee Moss", "country: Italy", "5 people chose it"):
        assert part in found.text


def test_numbers_of_the_audience_are_the_logs() -> None:
    describer = Describer(DATA, max_words=100)
    log = DATA.interactions
    for code in range(DATA.n_items):
        text = describer.describe([code])[0].text
        n = int((log.item == code).sum())
        assert (f"{n} people chose it" in text) == (n >= 5)
        if n >= 5:
            assert f"rated it {log.value[log.item == code].mean():.1f} on average" in text


def test_together_is_what_the_same_people_chose() -> None:
    describer = Describer(DATA)
    for code in (1, 3, 5, 6):  # the comedies
        assert set(describer.together(code)) <= {1, 3, 5, 6} - {code}
    assert describer.together(9) == []


@pytest.mark.parametrize("words", [1, 5, 12, 30, 200])
def test_length_is_kept_by_whole_sentences(words: int) -> None:
    describer = Describer(DATA, max_words=words)
    whole = Describer(DATA, max_words=1000)
    for code in range(DATA.n_items):
        said = describer.describe([code])[0].text
        first = describer.sentences(code)[0]
        assert len(said.split()) <= max(words, len(first.split()))
        assert whole.describe([code])[0].text.startswith(said)


def test_chinese() -> None:
    (found,) = Describer(DATA, language="zh", max_words=200).describe([8])
    assert "天空之城 Castle" in found.text
    assert "人选过" in found.text
    assert found.text.endswith("。")


def test_templates_are_grounded_in_the_catalogue() -> None:
    describer = Describer(DATA, max_words=100)
    for code in range(DATA.n_items):
        assert not ungrounded(describer.describe([code])[0].text, describer.sentences(code), known={"they", "people"})


def test_a_models_words_are_taken_only_if_they_hold() -> None:
    describer = Describer(DATA, max_words=20)
    model = _Says()
    model.text = "Red Harvest is a crime film from Japan, with Cy Park."
    (found,) = describer.describe([4], model)
    assert (found.text, found.source) == (model.text, model.fingerprint())
    for wrong, part in (
        ("Red Harvest is set in 1920s Chicago.", "Chicago"),
        ("Red Harvest is a scary film.", "scary"),
        ("Red Harvest is a film with Bo Li.", "Bo Li"),
        ("A crime film from Japan.", "(it does not say of what)"),
        ("", "(nothing)"),
        ("word " * 21, "(21 words)"),
    ):
        model.text = wrong
        (found,) = describer.describe([4], model)
        assert found.source == "template"
        assert part in found.rejected
        assert "Red Harvest" in found.text


def test_what_was_written_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "out" / "d.jsonl"
    model = _Says()
    model.text = "Fine."
    describer = Describer(DATA)
    steps = describer.write(path, range(10), model, batch=4)
    for _ in range(4):
        next(steps)
    steps.close()  # interrupted after the first batch
    assert model.calls == 4
    with path.open("a", encoding="utf-8") as file:
        file.write('{"item":"f4","te')  # killed in the middle of a line
    found = list(describer.write(path, range(10), model, batch=4))
    assert model.calls == 10
    assert sorted(each.item for each in found) == [f"f{i}" for i in range(10)]
    again = list(describer.write(path, range(10), model))
    assert model.calls == 10
    assert {each.item: each for each in again} == {each.item: each for each in found}


def test_another_file_is_not_written_into(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk\neggs\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1: expected a description"):
        list(Describer(DATA).write(path, [0]))
    assert path.read_text(encoding="utf-8") == "milk\neggs\n"


def test_templates_cost_no_flops_and_no_tokens() -> None:
    ledger = Ledger()
    with ledger.span("describe"):
        Describer(DATA).describe(range(DATA.n_items))
    assert (ledger.total().flops, ledger.total().tokens_out) == (0.0, 0.0)


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="language must be one of en, zh, not 'fr'"):
        Describer(DATA, language="fr")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_words must be at least 1"):
        Describer(DATA, max_words=0)


def test_the_audience_can_be_left_out() -> None:
    (found,) = Describer(DATA, audience=False, max_words=100).describe([3])
    assert "people chose" not in found.text

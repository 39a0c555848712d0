"""Words of a question that no title, value or number explains."""

from __future__ import annotations

from functools import cached_property

from frugalrec.tasks._forms import Form, Token, form, normal, tokens
from frugalrec.tasks._question_words import (
    CHINESE_CUE,
    CHINESE_FILLER,
    CHINESE_NEGATORS,
    FILLER,
    FILLER_STEMS,
    MUST_CUES,
    NEGATED_BEFORE,
    NEGATORS,
    NOUNS,
    NUMBERS,
    RESETS,
)
from frugalrec.tasks._reading import Unknown
from frugalrec.tasks._unread import Unread
from frugalrec.tasks.attributes import Attributes


class Rest:
    """Tells what the rest of a question may ask for, given one catalogue and the words that name its fields."""

    def __init__(self, attributes: Attributes, field_words: dict[Form, str]) -> None:
        self.attributes = attributes
        self._field_words = field_words

    def unknown(self, work: Unread) -> list[Unknown]:
        """Return what nothing explains: words in a row, with a cue before them that makes them needed."""
        rows: list[tuple[list[Token], str]] = []
        row: list[Token] = []
        cue = before = ""
        for token in tokens(work.left):
            word = token.word
            if not word[0].isalnum() or word in FILLER_STEMS or word in NOUNS or self._plain(token):
                if row and word.isascii() and word in ("of", "the", "'") and token.text.islower():
                    before = word
                    continue
                if row:
                    rows.append((row, cue))
                    row = []
                before = token.text.casefold() if word[0].isalnum() else before
                continue
            if not row:
                cue = before
            row.append(token)
        if row:
            rows.append((row, cue))
        found = []
        for row, cue in rows:
            said = " ".join(t.text for t in row) if row[0].word.isascii() else "".join(t.text for t in row)
            if not row[0].word.isascii():
                cue = "由" if CHINESE_CUE.search(said) else cue
                said = CHINESE_FILLER.sub("", said)
                if len(said) < 2:
                    continue  # one character says nothing by itself
            name = row[0].text[0].isupper() or not row[0].word.isascii()
            negated = (
                cue in NEGATORS
                or any(said.startswith(n) for n in CHINESE_NEGATORS)
                or NEGATED_BEFORE.search(work.left[: row[0].start]) is not None
            )
            needed = (cue in MUST_CUES and (name or cue in ("starring", "featuring", "by", "without"))) or negated
            near = tuple(v.name for v in self.attributes.near_values(form(said)))
            # Characters that nothing explains are most likely a name.
            needed = needed or (not row[0].word.isascii() and len(said) > 2 and not self.in_texts(said))
            # A name in the middle of a question is meant, wherever it stands.
            needed = needed or (row[0].word.isascii() and name and row[0].start > 0 and not self.in_texts(said))
            found.append(Unknown(said, needed, near, negated))
        return found

    def in_texts(self, said: str) -> bool:
        """Whether titles or texts of the catalogue have the words of ``said``."""
        wanted = form(said)
        if wanted and not wanted[0].isascii():
            return len(said) > 1 and said in self._all_text  # characters make a word only together
        return bool(wanted) and all(word in self._text_words for word in wanted)

    def _plain(self, token: Token) -> bool:
        word = token.text.casefold()
        if word in NEGATORS or word in FILLER or token.word in RESETS:
            return True
        if word in NUMBERS or (word.isdigit() and len(word) < 3):
            return True
        return any(token.word in words for words in self._field_words if len(words) == 1)

    @cached_property
    def _text_words(self) -> frozenset[str]:
        return frozenset(t.word for t in tokens(self._all_text))

    @cached_property
    def _all_text(self) -> str:
        return normal("\n".join(self.attributes.catalog.texts()))

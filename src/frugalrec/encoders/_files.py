"""Files of a model: found, hashed, and their tokenizers opened."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from frugalrec.errors import AssetError

if TYPE_CHECKING:
    import tokenizers


def files_in(folder: str, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the files called ``names`` in ``folder``; raises `AssetError` naming the first that is not there."""
    place = Path(folder).expanduser()
    for name in names:
        if not (place / name).is_file():
            raise AssetError(
                f"expected {' and '.join(names)} in {place}: there is no {name}",
                hint="export the model with its tokenizer into that folder, or leave 'path' empty",
            )
    return tuple(place / name for name in names)


def digest_of(file: Path) -> str:
    """Return the sha256 of a file, read again only when its size or time has changed."""
    status = file.stat()
    return _digest(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(file: Path, size: int, modified_ns: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def open_tokenizer(file: Path, max_tokens: int | None = None) -> tokenizers.Tokenizer:
    """Return the tokenizer in ``file``, which cuts at ``max_tokens`` if any and does not pad; raises `AssetError`."""
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exceptions
        raise AssetError(f"{file}: not a tokenizer: {error}", hint="fetch or export it again") from error
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_tokens)
    return tokenizer


def meaningless_tokens(tokenizer: tokenizers.Tokenizer) -> frozenset[int]:
    """Return the ids of tokens that say nothing of a text: unknown, and the special ones that open and close it."""
    special = {id_ for id_, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    unknown = getattr(tokenizer.model, "unk_token", None)
    id_ = None if unknown is None else tokenizer.token_to_id(unknown)
    if id_ is None:  # unigram models name theirs by number only, and Python does not see it
        id_ = next((i for name in ("<unk>", "[UNK]") if (i := tokenizer.token_to_id(name)) is not None), None)
    return frozenset(special if id_ is None else {*special, id_})


__all__ = ["digest_of", "files_in", "meaningless_tokens", "open_tokenizer"]

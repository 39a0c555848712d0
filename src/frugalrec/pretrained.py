"""Transformers from a folder: safetensors alone, nothing fetched, nothing of theirs executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frugalrec.errors import AssetError, MissingExtraError


def load_network(folder: Path, kind: str = "AutoModel") -> Any:
    """Return the network in ``folder`` (`transformers` class ``kind``) in float32, for evaluation.

    Raises `MissingExtraError` without torch or transformers, `AssetError` when there is no such model.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError.of("transformers", "torch") from error
    said = transformers.utils.logging
    verbosity, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        return (
            getattr(transformers, kind)
            .from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
            )
            .eval()
        )
    except Exception as error:  # the library's errors have no common base
        what = "a causal model" if kind == "AutoModelForCausalLM" else "a model"
        raise AssetError(
            f"{folder}: not {what} that transformers can load: {type(error).__name__}: {error}",
            hint="save it with save_pretrained, as safetensors",
        ) from error
    finally:
        said.set_verbosity(verbosity)
        if bars:
            said.enable_progress_bar()


def load_tokenizer(file: Path) -> Any:
    """Return the tokenizer in ``file``, cutting and padding nothing; raises `AssetError` when it is none."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain exceptions
        raise AssetError(f"{file}: not a tokenizer: {error}", hint="take both files from the same model") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


__all__ = ["load_network", "load_tokenizer"]

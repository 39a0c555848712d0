"""A transformer in an ONNX file, run on the CPU."""

from __future__ import annotations

import hashlib
import threading
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from frugalrec import assets, cost
from frugalrec.data.shape import DataShape
from frugalrec.encoders._files import digest_of, files_in, meaningless_tokens, open_tokenizer
from frugalrec.encoders._onnx_graph import Multiplications, count_multiplications
from frugalrec.encoders._rows import unit_rows
from frugalrec.encoders._sample import LEAST_AGREEMENT, SAMPLE, agreement
from frugalrec.encoders._spread import padded
from frugalrec.errors import AssetError, ConfigError, FrugalrecError
from frugalrec.interfaces import Matrix, Role
from frugalrec.text.language import unsupported_share
from frugalrec.text.preparation import Preparation, prepared
from frugalrec.work import Expected, Work

if TYPE_CHECKING:
    import onnxruntime

_LANGUAGES = {"all-minilm-l6-v2-int8": ("latin",)}
"""What the known models were trained on, in the names of `language`. All-MiniLM is at chance on Chinese."""

_LIBRARY_BYTES = 64e6
_COPIES = 7.0  # the file as read, the weights as 8-bit integers, and as 32-bit floats
_STATES, _TABLES, _HEADS = 21.0, 4.0, 12.0  # states of a token, and tables of attention, that the runtime holds at once
_DIMS = {"all-minilm-l6-v2-int8": 384}

CHARACTERS_A_TOKEN = 4.0
"""About how many characters of English a token has, where the tokenizer is not there to count."""

_WARN_ABOVE = 0.2
_FILES = ("model.onnx", "tokenizer.json")
_VERSION = 2  # goes up when the same files and settings give other vectors


@dataclass
class Onnx:
    """Sentence vectors of a transformer: each text's token vectors, averaged and scaled to unit length.

    Choose it where items carry text and meaning matters more than shared words; in a language that the model does not
    know, `BagOfWords` is better and a thousand times cheaper. Time is O(parameters × tokens + layers × length² × width)
    a text, memory O(batch_size × max_tokens²) beside the weights. The default model is all-MiniLM-L6-v2 (Reimers and
    Gurevych 2019, Sentence-BERT; 22 M parameters, 384 dimensions, English), its weights stored as 8-bit integers and
    computed with as floats, so that a vector does not depend on its batch.

    ``model`` names an asset; ``path``, a folder with ``model.onnx`` and ``tokenizer.json``, takes its place. Text
    beyond ``max_tokens`` is cut off, and one of which the model knows no token (emoji alone) gets a zero row. ``text``
    says how texts are prepared: ``clean`` takes HTML away, ``raw`` nothing, ``words`` all but the telling words.
    ``pooling``: average all tokens, or take the first (``cls``). ``query_prefix`` and
    ``item_prefix`` are put before texts, for models trained with such ("query: "). ``threads`` 0 takes
    `frugalrec.cost.threads`. Files are loaded at the first use, and shared by encoders that use the same ones; an 8-bit
    export (``frugalrec export-encoder``) that gives other vectors than where it was made is warned of then.

    Charges ``tokens_in`` (padding not counted) and ``flops``: 2 a multiply-add, counted from the graph's weights and
    attention products; a graph that cannot be counted leaves them unknown.

    >>> vectors = Onnx().encode(["Toy Story (1995)", "A Bug's Life (1998)", "Heat (1995)"])  # doctest: +SKIP
    >>> vectors.shape, bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])  # doctest: +SKIP
    ((3, 384), True)
    """

    is_language_model: ClassVar[bool] = True

    model: str = "all-minilm-l6-v2-int8"
    path: str = ""
    max_tokens: int = 128
    batch_size: int = 32
    pooling: Literal["mean", "cls"] = "mean"
    query_prefix: str = ""
    item_prefix: str = ""
    text: Preparation = "clean"
    threads: int = 0
    _files: tuple[Path, Path] | None = field(default=None, init=False, repr=False, compare=False)
    _network: _Network | None = field(default=None, init=False, repr=False, compare=False)
    _inspected: bool = field(default=False, init=False, repr=False, compare=False)
    _warned: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, least in (("max_tokens", 3), ("batch_size", 1), ("threads", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"onnx.{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}")
        if self.pooling not in ("mean", "cls"):
            raise ConfigError(f"onnx.pooling must be 'mean' or 'cls', not {self.pooling!r}")
        prepared("", self.text)

    def encode(self, texts: Sequence[str], *, role: Role = "item") -> Matrix:
        """Return float32 ``(n, dim)``, rows of unit norm; zero rows for texts without content or known tokens.

        Raises `AssetError` when the model cannot be had or read, `ConfigError` when it is no sentence encoder.
        """
        if not self._inspected:
            self.inspect(texts)
        network = self._loaded()
        prefix = self.query_prefix if role == "query" else self.item_prefix
        given = [prepared(text, self.text) for text in texts]
        known = network.known(network.tokens(prefix))
        read = {i: network.tokens(prefix + text) for i, text in enumerate(given) if text}
        tokens = {i: ids for i, ids in read.items() if network.known(ids) > known}
        vectors = np.zeros((len(texts), network.dim), dtype=np.float32)
        # Texts of like length together: a batch is as long as its longest text.
        order = sorted(tokens, key=lambda i: len(tokens[i]))
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            vectors[rows] = unit_rows(network.pooled([tokens[i] for i in rows], self.pooling))
            lengths = [len(tokens[i]) for i in rows]
            cost.charge(tokens_in=float(sum(lengths)))
            counted = network.multiplications
            cost.charge(flops=None if counted is None else counted.flops(lengths, network.dim))
        return vectors

    def inspect(self, texts: Sequence[str]) -> None:
        """Warn, once, when more than a fifth of ``texts`` are in a language that the model does not know.

        `encode` does this for what it is given first; whoever hands texts over in parts calls it with all of them.
        """
        self._inspected = True
        known = _LANGUAGES.get(self.model) if not self.path else None
        if self._warned or known is None:
            return
        share = unsupported_share(texts, known)
        if share > _WARN_ABOVE:
            self._warned = True
            warnings.warn(
                f"{share:.0%} of the texts are in a language that '{self.model}' does not know: their vectors mean "
                "little. Use a multilingual model (onnx.path) or 'bag-of-words'",
                stacklevel=3,
            )

    @property
    def dim(self) -> int:
        """Dimension of the vectors. Raises as `encode` does, except that the default model's is known without it."""
        if not self.path and self.model in _DIMS:
            return _DIMS[self.model]
        return self._loaded().dim

    def expected(self, shape: DataShape) -> Expected:
        """Return what encoding each different item text once takes: tokens and FLOPs are counted, not guessed.

        Nothing is fetched for it: without the files, tokens are guessed from the number of characters, and FLOPs are
        unknown. Beyond 100,000 texts a sample is counted. Time is told by tokens with their padding.
        """
        texts, scale = shape.sampled_texts()
        prefixed = [self.item_prefix + t for text in texts if (t := prepared(text, self.text))]
        files = self._found() if self.path else _cached_files(self.model)
        counted = None
        if files is None:
            lengths = [min(self.max_tokens, 2 + round(len(text) / CHARACTERS_A_TOKEN)) for text in prefixed]
        else:
            tokenizer = open_tokenizer(files[1], self.max_tokens)
            lengths = [len(tokenizer.encode(text).ids) for text in prefixed]
            counted = count_multiplications(files[0])
        groups = padded(prefixed, lengths, self.batch_size)
        longest = max(lengths, default=0)
        weights = 0.0 if files is None else float(files[0].stat().st_size)
        work = [Work("encode", scale * length * n, float(length)) for length, n in sorted(groups.items())]
        work.append(Work("load", weights))
        peak = None
        if files is not None:
            # The libraries, the weights as stored and as computed with, and the activations of the longest texts.
            layers = 4.0 * self.batch_size * longest * (_STATES * self.dim + _TABLES * _HEADS * longest)
            peak = _LIBRARY_BYTES + _COPIES * weights + layers + 4.0 * shape.distinct_texts * self.dim
        return Expected(
            tuple(work),
            None if counted is None else scale * counted.flops(lengths, self.dim),
            scale * sum(lengths),
            0.0,
            peak,
            4.0 * shape.distinct_texts * self.dim,
            1.0 if files is not None else 1.5,
        )

    def fingerprint(self) -> str:
        """Return a hash of the files and of the settings that change vectors."""
        settings = (_VERSION, self.max_tokens, self.pooling, self.query_prefix, self.item_prefix, self.text)
        digests = [digest_of(file) for file in self._found()]
        return f"onnx-{hashlib.sha256(repr((digests, settings)).encode()).hexdigest()[:32]}"

    def _found(self) -> tuple[Path, Path]:
        if self._files is None:
            self._files = self._find()
        return self._files

    def _find(self) -> tuple[Path, Path]:
        if self.path:
            model, tokenizer = files_in(self.path, _FILES)
            return model, tokenizer
        files = assets.fetch(self.model).files
        if any(name not in files for name in _FILES):
            raise ConfigError(f"onnx.model '{self.model}' is no ONNX encoder: it has {sorted(files)}")
        return files[_FILES[0]], files[_FILES[1]]

    def _loaded(self) -> _Network:
        if self._network is None:
            self._network = _network(*self._found(), self.threads or cost.threads(), self.max_tokens)
        return self._network


def _cached_files(model: str) -> tuple[Path, Path] | None:
    try:
        files = assets.fetch(model, offline=True, notify=lambda line: None).files
    except FrugalrecError:
        return None
    return files[_FILES[0]], files[_FILES[1]]


class _Network:
    """A session and its tokenizer. Runs are thread-safe: neither changes after loading."""

    def __init__(self, model: Path, tokenizer: Path, threads: int, max_tokens: int) -> None:
        self.model = model
        self.tokenizer = open_tokenizer(tokenizer, max_tokens)
        self.meaningless = meaningless_tokens(self.tokenizer)
        self.session = _session(model, threads)
        self.inputs = {node.name for node in self.session.get_inputs()}
        unknown = self.inputs - {"input_ids", "attention_mask", "token_type_ids"}
        outputs = [node for node in self.session.get_outputs() if len(node.shape) == 3]
        if unknown or "input_ids" not in self.inputs or not outputs or not isinstance(outputs[0].shape[2], int):
            raise ConfigError(
                f"{model} is no text encoder: expected inputs input_ids, attention_mask and token_type_ids and an "
                f"output (batch, sequence, dim), found {sorted(self.inputs)} and "
                f"{[(node.name, node.shape) for node in self.session.get_outputs()]}",
                hint="export it for the task 'feature-extraction'",
            )
        self.output: str = outputs[0].name
        self.dim: int = outputs[0].shape[2]
        self.multiplications: Multiplications | None = count_multiplications(model)
        self._compare()

    def _compare(self) -> None:
        """Warn where an export with a sample of its vectors, which not all files have, gives others here."""
        sample = self.session.get_modelmeta().custom_metadata_map.get(SAMPLE)
        if sample is None or (found := agreement(sample, partial(self.pooled, pooling="mean"))) >= LEAST_AGREEMENT:
            return
        warnings.warn(
            f"{self.model}: its vectors are not those of the machine that exported it (cosine {found:.4f} for a "
            "sample): most likely this processor clips sums of bytes. Export it again on this machine, or use the "
            "export in full precision (fp32)",
            stacklevel=2,
        )

    def tokens(self, text: str) -> list[int]:
        # One at a time: the batch call starts threads of its own, whatever number was asked for.
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def known(self, ids: Sequence[int]) -> int:
        """Return how many of ``ids`` stand for something."""
        return sum(id_ not in self.meaningless for id_ in ids)

    def pooled(self, sequences: Sequence[Sequence[int]], pooling: str) -> Matrix:
        """Return float32 ``(n, dim)``: the token vectors of each sequence made one."""
        ids = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        try:
            (hidden,) = self.session.run([self.output], {name: given[name] for name in self.inputs})
        except Exception as error:  # the runtime's own errors have no common base
            raise ConfigError(
                f"{self.model} failed on {ids.shape[0]} texts of up to {ids.shape[1]} tokens: {error}",
                hint="check that the tokenizer is the model's own, or lower onnx.max-tokens",
            ) from error
        states: Matrix = np.asarray(hidden, dtype=np.float32)
        if pooling == "cls":
            return states[:, 0, :]
        weights = mask / mask.sum(axis=1, keepdims=True)
        pooled: Matrix = np.matmul(weights[:, None, :].astype(np.float32), states)[:, 0, :]
        return pooled


_networks: weakref.WeakValueDictionary[tuple[Path, Path, int, int], _Network] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def _network(model: Path, tokenizer: Path, threads: int, max_tokens: int) -> _Network:
    key = (model, tokenizer, threads, max_tokens)
    with _loading:
        network = _networks.get(key)
        if network is None:
            network = _networks[key] = _Network(*key)
        return network


def _session(file: Path, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Threads that spin while they wait take the cores from those that work: up to 100 times slower on a busy machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_mem_pattern = False  # batches differ in shape, so planning ahead for one only raises the peak
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors have no common base
        raise AssetError(f"{file}: not a model that can be run: {error}", hint="fetch or export it again") from error


__all__ = ["Onnx"]

"""Transformers too small to know anything, saved as real ones are: for tests of what loads and runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def _tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Write a tokenizer that knows the words of ``texts``; return its size."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    normalizer = normalizers.BertNormalizer()
    split = pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(normalizer.normalize_str(text))}
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *sorted(words)])}
    made = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizer, split
    made.add_special_tokens(_SPECIAL)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    )
    made.save(str(folder / "tokenizer.json"))
    return len(vocabulary)


def tiny_bert(folder: Path, texts: Sequence[str], *, layers: int = 2, seed: int = 0) -> Path:
    """Save a BERT with random weights, 16 dimensions and a tokenizer of the words of ``texts``; needs ``torch``."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=_tokenizer(folder, texts),
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
    )
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def tiny_gpt(folder: Path, texts: Sequence[str], *, layers: int = 2, seed: int = 0) -> Path:
    """Save a GPT-2 like `tiny_bert`: a causal model; needs ``torch``."""
    import torch
    import transformers

    torch.manual_seed(seed)
    size = _tokenizer(folder, texts)
    config = transformers.GPT2Config(vocab_size=size, n_embd=16, n_layer=layers, n_head=2, n_positions=128)
    transformers.GPT2Model(config).save_pretrained(folder)
    return folder


def tiny_causal(
    folder: Path, texts: Sequence[str], *, family: str = "gpt2", steps: int = 0, seed: int = 0
) -> Path:  # fmt: skip
    """Save a language model of the ``gpt2`` or ``llama`` family that has read ``texts`` for so many steps of Adam.

    A tokenizer of their words comes with it; needs ``torch``.
    """
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(seed)
    size = _tokenizer(folder, texts)
    opening, closing = _SPECIAL.index("[CLS]"), _SPECIAL.index("[SEP]")
    marks = {"bos_token_id": opening, "eos_token_id": closing, "pad_token_id": 0}
    config: transformers.PretrainedConfig
    if family == "llama":
        config = transformers.LlamaConfig(
            vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=128, **marks,
        )  # fmt: skip
    else:
        config = transformers.GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=2, n_positions=128, **marks)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    reader = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = [torch.tensor([reader.encode(text).ids]) for text in texts]
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        ids = read[step % len(read)]
        adam.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        adam.step()
    model.save_pretrained(folder)
    return folder


def tiny_sentence_bert(folder: Path, texts: Sequence[str]) -> Path:
    """Save `tiny_bert` with mean pooling as sentence-transformers does; needs ``sentence-transformers``."""
    import sentence_transformers
    import transformers
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    plain = tiny_bert(folder, texts)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=True))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(plain / "tokenizer.json"), **names)
    fast.save_pretrained(plain)
    body = Transformer(str(plain), max_seq_length=128)
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="mean")
    sentence_transformers.SentenceTransformer(modules=[body, pooling], device="cpu").save(str(folder / "saved"))
    return folder / "saved"


__all__ = ["tiny_bert", "tiny_gpt", "tiny_sentence_bert"]

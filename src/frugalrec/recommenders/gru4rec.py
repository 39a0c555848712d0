"""A recurrent network over a user's history, trained by gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from frugalrec.recommenders._sequence_models import SequenceModel
from frugalrec.torch_training import Shapes, Tensor, require_torch

EXTRA = ("torch", "torch")

GATES = 3
"""Parts of a gated recurrent unit: reset, update and candidate."""


@dataclass
class Gru4rec(SequenceModel):
    """Recommends the next item from the state of gated recurrent units that read the history: GRU4Rec.

    Choose it for sessions and short histories, or to hold a cheaper model against. Settings are those of `Sasrec`
    without heads. Needs the extra ``torch``.

    Time for E events, dimension d, window L, n items: O(E (n d + layers d²)) an epoch, O(layers L d² + n d) a query.
    Memory: O(n d), and batch_size · L · n floats for the cross-entropy. FLOPs of the matrix products are charged (three
    times the forward pass in training); what is done to single elements is not. Paper: Hidasi, Karatzoglou, Baltrunas &
    Tikk 2016, eqs. 1 to 4 for the unit; here the loss is a softmax instead of TOP1 or BPR, input and output share their
    item embeddings, and batches hold windows instead of parallel sessions.

    >>> from frugalrec.testing.data import toy_dataset
    >>> data = toy_dataset(n_users=30, n_items=15)
    >>> len(Gru4rec(dimension=8, epochs=2).fit(data).recommend([data.query(0)], k=3)[0])
    3
    """

    def shapes(self, n_items: int) -> Shapes:
        """Return the shapes of all parameters by name."""
        d = self.dimension
        shapes: dict[str, tuple[int, ...]] = {"item_embedding": (n_items + 1, d)}
        for layer in range(self.layers):
            for side in ("input", "state"):
                shapes |= {f"{layer}.{side}.weight": (GATES * d, d), f"{layer}.{side}.bias": (GATES * d,)}
        return shapes | {"last.scale": (d,), "last.bias": (d,)}

    def states(self, parameters: dict[str, Tensor], tokens: Tensor, *, training: bool) -> Tensor:
        """Return the state after each token."""
        torch = require_torch()
        F, d = torch.nn.functional, self.dimension
        x = F.dropout(F.embedding(tokens, parameters["item_embedding"]) * d**0.5, self.dropout, training)
        weights = [
            parameters[f"{layer}.{side}.{part}"]
            for layer in range(self.layers)
            for part in ("weight", "bias")
            for side in ("input", "state")
        ]
        start = x.new_zeros(self.layers, len(tokens), d)
        x, _ = torch.gru(x, start, weights, True, self.layers, self.dropout, training, False, True)
        return F.layer_norm(
            F.dropout(x, self.dropout, training), (d,), parameters["last.scale"], parameters["last.bias"]
        )

    def network_flops(self, n: int, width: int) -> float:
        """Return 12 d² a token and layer: three gates, each a product with the input and one with the state."""
        return float(n * width) * self.layers * 4.0 * GATES * self.dimension**2

    def training_flops(self, n: int, width: int) -> float:
        """Return three times the forward pass, without the gradients of the first states, which nothing asks for."""
        return super().training_flops(n, width) - 2.0 * GATES * self.dimension**2 * n * self.layers


__all__ = ["Gru4rec"]

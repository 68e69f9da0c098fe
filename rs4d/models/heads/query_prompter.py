"""From a query to prompts."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from .roi_prompter import require_tokens, split_tokens


class QueryPrompter(BaseModule):
    """Turn a query's features into a few tokens that ask SAM's decoder for one object.

    After RSPrompter-query (Chen et al., "RSPrompter", IEEE TGRS 2024): fully connected layers to all
    tokens at once.

    Args:
        in_channels: Width of a query.
        embed_dims: Width of a token: SAM's 256.
        num_tokens: Tokens an instance.
        hidden_dims: Width of the fully connected layers; None for half of a query's.
        sine: As for :class:`~rs4d.models.heads.RoIPrompter`.

    Raises:
        ConfigError: If there is no token.
    """

    def __init__(
        self,
        in_channels: int = 128,
        embed_dims: int = 256,
        num_tokens: int = 5,
        hidden_dims: int | None = None,
        sine: bool = True,
    ) -> None:
        super().__init__()
        require_tokens('QueryPrompter', num_tokens)
        self.num_tokens, self.embed_dims, self.sine = num_tokens, embed_dims, sine
        hidden = hidden_dims or in_channels // 2
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_tokens * embed_dims * (2 if sine else 1)),
        )

    def forward(self, queries: Tensor) -> Tensor:
        """Make tokens (N, num_tokens, embed_dims) of queries (N, in_channels)."""
        return split_tokens(self.mlp(queries), self.num_tokens, self.sine)

"""How a model is spread over processes."""

from .sharded_strategy import ShardedStrategy, is_encoder

__all__ = ['ShardedStrategy', 'is_encoder']

"""Memory that the mixers of an encoder share in a forward pass without gradients."""

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode


class MixerWorkspace:
    """Buffers for one mixer at a time, used by block after block.

    A fresh map of some MiB costs more in page faults than a matrix product costs in arithmetic, and a
    forward pass without gradients needs none of a mixer's maps once it has its output.

    Args:
        batch: Images.
        length: Tokens of an image.
        inner_dims: Channels inside of a mixer.
        projection_dims: Width of delta's bottleneck, B and C together.

    Attributes:
        xz: Output of ``in_proj``, (B, L, 2 * inner_dims).
        u: The two directions behind the convolution, (2, B, L, inner_dims).
        projection: Output of ``x_proj``, (2, B, L, projection_dims).
    """

    def __init__(self, batch: int, length: int, inner_dims: int, projection_dims: int) -> None:
        shapes = dict(
            xz=(batch, length, 2 * inner_dims),
            u=(2, batch, length, inner_dims),
            projection=(2, batch, length, projection_dims),
        )
        sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        memory = torch.empty(sum(sizes), dtype=torch.float32, device='cpu')
        parts = memory.split(sizes)
        buffers = {name: part.view(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        self.xz, self.u = buffers['xz'], buffers['u']
        self.projection = buffers['projection']


def may_share_memory(module: nn.Module, x: Tensor) -> bool:
    """Whether a module's forward pass may write into a workspace and nobody can tell.

    Args:
        module: The encoder.
        x: Its tokens.

    Returns:
        False where gradients may flow, on other devices and types, under autocast, for tracers,
        compilers and counters, and where a submodule has hooks, which would miss calls.
    """
    return (
        type(x) is Tensor
        and x.device.type == 'cpu'
        and x.dtype == torch.float32
        and x.numel() > 0
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu')
        and not torch.jit.is_tracing()
        and not torch.compiler.is_compiling()
        and _get_current_dispatch_mode() is None
        and all(not m._forward_hooks and not m._forward_pre_hooks for m in module.modules())
        and all(p.dtype == torch.float32 for p in module.parameters())
    )

"""What is timed: one inference or one training step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def make_step(
    model: nn.Module, side: int, training: bool, batch_size: int = 1
) -> Callable[[], None]:
    """Make a function that takes one step.

    A training step is the forward and the backward pass; the optimiser is left out, since its time
    depends on the number of parameters alone.

    Args:
        model: An encoder; its mode is set here.
        side: Height and width of the input in pixels.
        training: Forward and backward instead of inference.
        batch_size: Images.

    Returns:
        A function without arguments.
    """
    torch.manual_seed(0)
    device = next(model.parameters()).device
    img = torch.randn(batch_size, 3, side, side, device=device)
    model.train(training)

    def infer() -> None:
        with torch.inference_mode():
            model(img)

    def train() -> None:
        model.zero_grad(set_to_none=True)
        out = model(img)
        maps = [out] if isinstance(out, Tensor) else out
        torch.stack([x.square().mean() for x in maps]).sum().backward()

    return train if training else infer

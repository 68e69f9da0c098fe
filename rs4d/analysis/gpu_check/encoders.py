"""RSMamba-base beside SAM's ViT-B and ResNet-50, on one device, timed by its own clock."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from rs4d.analysis.benchmark.encoders import build_encoder, make_step
from rs4d.analysis.benchmark.timing import by_the_clock, by_the_gpu, interleave, ratio, spread

from .findings import Finding

NAMES = ('rsmamba-base', 'resnet-50', 'sam-vit-b')


def measure_encoders(device: torch.device, side: int, rounds: int) -> Iterator[Finding]:
    """Time a forward pass of one image, in turns, in float32 and under bfloat16's autocast.

    Args:
        device: Where they compute.
        side: Height and width of the image in pixels.
        rounds: Turns of each that count; two go before.
    """
    models = {name: build_encoder(name, side).to(device) for name in NAMES}
    measure = by_the_gpu if device.type == 'cuda' else by_the_clock
    for dtype in (torch.float32, torch.bfloat16):
        label = str(dtype).removeprefix('torch.')
        try:
            steps = {name: _step(model, side, dtype, device) for name, model in models.items()}
            turns = interleave(steps, rounds, warmup=2, measure=measure)
        except torch.OutOfMemoryError as error:
            yield Finding('encoders', label, 'not run', str(error).splitlines()[0])
            continue
        for name in NAMES:
            milliseconds = 1e3 * spread(turns[name]).median
            times = ratio(turns[NAMES[-1]], turns[name]).median
            yield Finding(
                'encoders',
                f'{name}, {side}x{side}, {label}',
                'measured',
                f'{milliseconds:.2f} ms, {times:.2f} times as fast as {NAMES[-1]}'
                + _memory(steps[name], device),
            )


def _step(
    model: nn.Module, side: int, dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    infer = make_step(model, side, training=False)

    def step() -> None:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            infer()

    return step


def _memory(step: Callable[[], None], device: torch.device) -> str:
    if device.type != 'cuda':
        return ''
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return f', at most {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB'

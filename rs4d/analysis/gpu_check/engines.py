"""Each engine of the scan on a device against the definition in float64."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from rs4d.ops import (
    available_engines,
    bidirectional_conv_silu,
    bidirectional_selective_scan,
    choose_engine,
    selective_scan,
)
from rs4d.ops.registry import ENGINES

from .findings import Finding

# Largest error of results and of gradients, relative to the norm of the right value.
LIMITS = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (1e-2, 2e-2)}
# What stays float32 beside sequences of another type.
_PARAMETERS = ('A', 'D', 'delta_bias', 'weight', 'bias')

Call = Callable[..., Tensor]


def check_engines(device: torch.device, length: int = 500) -> Iterator[Finding]:
    """Compare results and gradients of every engine that takes this device's tensors.

    Args:
        device: Where the engines compute; the definition does on the CPU.
        length: Steps of the sequences.
    """
    problems = [
        (label, dtype, call, inputs, _result_and_gradients(call, _doubled(inputs), 'reference'))
        for dtype in LIMITS
        for label, (call, inputs) in _calls(length, dtype).items()
    ]
    for name, status in available_engines().items():
        unsupported = ENGINES[name].unsupported_reason(torch.empty(0, device=device))
        reason = unsupported if status.available else status.reason
        if reason:
            yield Finding('engines', name, 'not run', reason)
            continue
        for label, dtype, call, inputs, right in problems:
            given = {key: x.to(device) for key, x in inputs.items()}
            errors = _errors(_result_and_gradients(call, given, name), right)
            limits = LIMITS[dtype]
            passed = all(error <= limit for error, limit in zip(errors, limits, strict=True))
            text = f'relative error {errors[0]:.1e}, of gradients {errors[1]:.1e}'
            if not passed:
                text += f'; at most {limits[0]:.0e} and {limits[1]:.0e} are right'
            subject = f'{name}, {label}, {str(dtype).removeprefix("torch.")}'
            yield Finding('engines', subject, 'passed' if passed else 'failed', text)
    yield Finding('engines', 'auto', 'measured', choose_engine(torch.empty(1, 1, 1, device=device)))


def _calls(length: int, dtype: torch.dtype) -> dict[str, tuple[Call, dict[str, Tensor]]]:
    """The three public functions with their inputs: sequences in a type, parameters in float32."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, states, taps = 2, 64, 16, 4

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def scan(directions: tuple[int, ...]) -> dict[str, Tensor]:
        sequence = (*directions, batch, length)
        return dict(
            u=normal(*sequence, channels),
            delta=0.1 * normal(*sequence, channels).abs(),
            A=-normal(channels, states).abs(),
            B=normal(*sequence, states),
            C=normal(*sequence, states),
            D=normal(channels),
        )

    calls: dict[str, tuple[Call, dict[str, Tensor]]] = {
        'one direction': (selective_scan, scan(())),
        'from the end': (_from_the_end, scan(())),
        'both directions': (
            bidirectional_selective_scan,
            scan((2,)) | dict(delta_bias=normal(channels), z=normal(batch, length, channels)),
        ),
        'convolution': (
            bidirectional_conv_silu,
            dict(
                x=normal(batch, length, channels),
                weight=normal(channels, taps),
                bias=normal(channels),
            ),
        ),
    }
    return {
        label: (
            call,
            {k: x.to(torch.float32 if k in _PARAMETERS else dtype) for k, x in drawn.items()},
        )
        for label, (call, drawn) in calls.items()
    }


def _from_the_end(*, engine: str, **inputs: Tensor) -> Tensor:
    return selective_scan(**inputs, reverse=True, engine=engine)


def _doubled(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.double() for name, x in inputs.items()}


def _errors(found: Sequence[Tensor], right: Sequence[Tensor]) -> tuple[float, float]:
    """Of the result, and the largest of all inputs' gradients."""
    errors = [
        ((a.double().cpu() - b).norm() / b.norm()).item() for a, b in zip(found, right, strict=True)
    ]
    return errors[0], max(errors[1:])


def _result_and_gradients(call: Call, inputs: dict[str, Tensor], engine: str) -> list[Tensor]:
    leaves = {name: x.clone().requires_grad_() for name, x in inputs.items()}
    # float32 is to mean float32 on a GPU, too.
    with torch.backends.cudnn.flags(allow_tf32=False):
        y = call(**leaves, engine=engine)
        weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).to(y).view_as(y)
        gradients = torch.autograd.grad((y * weights).sum(), list(leaves.values()))
    return [y.detach(), *gradients]

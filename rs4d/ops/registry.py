"""The engines of the selective scan, and how one is chosen."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, bfloat16, dtype, float16, float64

from rs4d.errors import UserError

from . import chunked, cpu, cuda, definition, triton
from .workspace import MixerWeights, Workspace

InPlaceMixer = Callable[[Tensor, Callable[[Tensor], Tensor], MixerWeights, Workspace], None]
# Tokens, weight, bias and epsilon of the norm, all blocks' weights, the blocks whose results are wanted.
BlocksMixer = Callable[[Tensor, Tensor, Tensor, float, list[Tensor], list[int]], list[Tensor]]

_logger = logging.getLogger(__name__)

ENVIRONMENT_VARIABLE = 'RS4D_SCAN_ENGINE'


def _nothing_missing() -> None:
    return None


@dataclass(frozen=True)
class Engine:
    """What one engine can do; the README beside this file has the contract of each function.

    Attributes:
        scan: One or two directions, with all that the bidirectional scan fuses.
        conv_silu: The convolution of both directions. Default: the definition.
        add_mixed: A whole mixer with norm and residual, in place and without gradients; or None.
        mix_blocks: All blocks of an encoder as one operator, for exported programs; or None.
        device: The type of device whose tensors it takes in float32; None for any device, and
            float64 as well.
        unavailable_reason: Says what is missing on this machine and what to install, or None.
        low_types: Types of sequences besides float32 that its functions take and give themselves,
            with parameters in float32.
    """

    scan: Callable[..., Tensor]
    conv_silu: Callable[[Tensor, Tensor, Tensor | None], Tensor] = definition.conv_silu
    add_mixed: InPlaceMixer | None = None
    mix_blocks: BlocksMixer | None = None
    device: str | None = None
    unavailable_reason: Callable[[], str | None] = _nothing_missing
    low_types: frozenset[dtype] = frozenset()

    def unsupported_reason(self, u: Tensor) -> str | None:
        """Return why the engine does not take such an input, or None if it does."""
        if self.device is not None and u.device.type != self.device:
            return f"it runs on '{self.device}' tensors here, not on '{u.device.type}'"
        if self.device is not None and u.dtype == float64:
            return 'it computes in float32, not in float64'
        return None


# Fastest first: 'auto' takes the first that can.
ENGINES: dict[str, Engine] = {
    'cpu': Engine(
        cpu.scan,
        cpu.conv_silu,
        cpu.add_mixed,
        cpu.mix_blocks,
        device='cpu',
        unavailable_reason=cpu.unavailable_reason,
        low_types=frozenset({bfloat16, float16}),
    ),
    'cuda': Engine(
        cuda.scan, cuda.conv_silu, device='cuda', unavailable_reason=cuda.unavailable_reason
    ),
    'triton': Engine(
        triton.scan, device=triton.DEVICE, unavailable_reason=triton.unavailable_reason
    ),
    'chunked': Engine(chunked.scan),
    'reference': Engine(definition.scan),
}


class ScanEngineError(UserError, RuntimeError):
    """An engine was asked for that does not exist or cannot run."""


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can be used here.

    Attributes:
        available: True if it can.
        reason: Why it cannot and what to install; empty if it can.
    """

    available: bool
    reason: str = ''

    def __str__(self) -> str:
        return 'available' if self.available else f'not available: {self.reason}'


class _Choice:
    """What `use_engine` asks for; the only state of this package."""

    engine: str | None = None
    told_about_fallback = False


def available_engines() -> dict[str, EngineStatus]:
    """Say of every engine whether it can be used here, and if not, why.

    Returns:
        From the engine's name to its status, fastest first.
    """
    status = {}
    for name, engine in ENGINES.items():
        reason = engine.unavailable_reason()
        status[name] = EngineStatus(reason is None, reason or '')
    return status


@contextmanager
def use_engine(engine: str) -> Iterator[None]:
    """Make the functions of `rs4d.ops` use one engine where the call itself says ``'auto'``.

    Args:
        engine: A name of `available_engines`, or ``'auto'``. It goes before the environment
            variable ``RS4D_SCAN_ENGINE``.

    Raises:
        ScanEngineError: If the engine does not exist or cannot run here.
    """
    if engine != 'auto':
        _require(engine, 'use_engine')
    before = _Choice.engine
    _Choice.engine = engine
    try:
        yield
    finally:
        _Choice.engine = before


@contextmanager
def added_engine(name: str, engine: Engine) -> Iterator[None]:
    """Have an engine of one's own for a while, and use it."""
    ENGINES[name] = engine
    try:
        with use_engine(name):
            yield
    finally:
        del ENGINES[name]


def choose_engine(u: Tensor, engine: str = 'auto') -> str:
    """Find the engine for an input.

    An explicit name wins over `use_engine`, that over ``RS4D_SCAN_ENGINE``, and that over the
    fastest engine that fits the tensors.

    Args:
        u: The scan's input; its device and type decide what fits.
        engine: A name, or ``'auto'``.

    Returns:
        The name of an engine that can run on ``u``.

    Raises:
        ScanEngineError: If the engine asked for does not exist, cannot run here, or does not take
            such tensors.
    """
    source = 'the argument engine'
    if engine == 'auto' and _Choice.engine is not None:
        engine, source = _Choice.engine, 'use_engine'
    elif engine == 'auto':
        engine, source = os.environ.get(ENVIRONMENT_VARIABLE) or 'auto', ENVIRONMENT_VARIABLE
    if engine != 'auto':
        _require(engine, source)
        reason = ENGINES[engine].unsupported_reason(u)
        if reason is not None:
            raise ScanEngineError(
                f"The scan engine '{engine}', asked for by {source}, does not take this input: "
                f"{reason}. Choose another engine, or 'auto'."
            )
        return engine
    for name, candidate in ENGINES.items():
        if candidate.unsupported_reason(u) is not None:
            continue
        reason = candidate.unavailable_reason()
        if reason is None:
            return name
        if not _Choice.told_about_fallback:
            _Choice.told_about_fallback = True
            _logger.warning(
                "The scan engine '%s' would be the fastest for this input but is not available: %s",
                name,
                reason,
            )
    raise ScanEngineError('No scan engine takes this input.')


def _require(engine: str, source: str) -> None:
    if engine not in ENGINES:
        raise ScanEngineError(
            f"There is no scan engine '{engine}', which {source} asks for. Choose one of "
            f'auto, {", ".join(ENGINES)}.'
        )
    reason = ENGINES[engine].unavailable_reason()
    if reason is not None:
        raise ScanEngineError(
            f"The scan engine '{engine}', asked for by {source}, cannot run: {reason}"
        )

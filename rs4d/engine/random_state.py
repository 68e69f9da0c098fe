"""The state of all random numbers that a training draws, as plain data for a checkpoint."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def get_random_state() -> dict[str, Any]:
    """Read the states of Python's, NumPy's and PyTorch's global generators.

    They are tensors and numbers, which ``torch.load(weights_only=True)`` reads. With CUDA initialised
    the current GPU's generator is among them.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: dict[str, Any] = dict(
        python=dict(version=version, words=torch.tensor(words, dtype=torch.int64), gauss=gauss),
        numpy=dict(
            name=str(name),
            keys=torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position=int(position),
            has_gauss=int(has_gauss),
            cached=float(cached),
        ),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put the global generators back into a state of :func:`get_random_state`."""
    python, array = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['words'].tolist()), python['gauss']))
    np.random.set_state(
        (
            array['name'],
            array['keys'].cpu().numpy().astype(np.uint32),
            array['position'],
            array['has_gauss'],
            array['cached'],
        )
    )
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


@contextmanager
def kept_random_state() -> Iterator[None]:
    """Leave the random numbers of the run as if the block had not been."""
    state = get_random_state()
    try:
        yield
    finally:
        set_random_state(state)


@contextmanager
def seeded_random_state(key: tuple[int, ...]) -> Iterator[None]:
    """Let the block draw random numbers that depend on a key alone, and the run go on as before.

    Args:
        key: Numbers that are not negative. NumPy's ``SeedSequence`` mixes them, which gives the
            same numbers on every machine.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence(key).generate_state(4, np.uint32)
    random.seed(words.tobytes())
    np.random.seed(words)
    # Not torch.manual_seed, which would reach the GPUs' generators, too.
    torch.default_generator.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])

"""An account of every load: what was loaded, what was missing, what was not expected."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from rs4d.errors import some

from .bands import inflate_bands
from .errors import CheckpointMismatchError


@dataclass
class LoadReport:
    """What became of a model's weights, by name, and of what a file has beside them."""

    source: str
    model: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing) + len(self.misshapen)
        text = (
            f"Loaded {len(self.loaded)} of the {total} weights of {self.model} from '{self.source}'"
        )
        text += f'{_examples(self.loaded)}; {len(self.missing)} missing{_examples(self.missing)}; '
        text += f'{len(self.unexpected)} unexpected{_examples(self.unexpected)}'
        if self.misshapen:
            text += f'; {len(self.misshapen)} of another shape{_examples(self.misshapen)}'
        return f'{text}.'

    def log(self) -> None:
        """Write it into MMEngine's log, as a warning where weights keep their random values."""
        level = logging.WARNING if self.missing or self.misshapen else logging.INFO
        print_log(str(self), logger='current', level=level)

    def require_any(self) -> None:
        """Raise if nothing was loaded.

        Raises:
            CheckpointMismatchError: Nothing was, although the model has weights.
        """
        wanted = [*self.missing, *self.misshapen]
        if not self.loaded and wanted:
            raise CheckpointMismatchError(
                f"The checkpoint '{self.source}' loads no weight of {self.model}: the model has names "
                f'such as {some(wanted)}, the file {some(self.unexpected) or "other shapes"}. It '
                'belongs to another model, or a prefix differs.'
            )


def require_finite(weights: Mapping[str, Any], source: str) -> None:
    """Raise if weights hold NaN or infinity, with which a model finds nothing and learns nothing.

    Raises:
        CheckpointMismatchError: Some do.
    """
    broken = [
        name
        for name, value in weights.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not value.isfinite().all()
    ]
    if broken:
        raise CheckpointMismatchError(
            f"The checkpoint '{source}' holds NaN or infinity in {len(broken)} of its weights "
            f'({some(broken)}): its training went astray, or the file is damaged. Give an earlier '
            'checkpoint.'
        )


@contextmanager
def watched_load(model: nn.Module, source: str) -> Iterator[LoadReport]:
    """Watch a load into a model from a file, by PyTorch or by MMEngine.

    Weights for three bands are inflated to as many as the model has; see `inflate_bands`.

    Yields:
        The account, complete when the block has ended.
    """
    report = LoadReport(source, type(model).__name__)
    seen: list[Any] = []

    def keep(*arguments: Any) -> None:
        # The module, its state dict, prefix, metadata, strict; then lists of names missing and not
        # expected and of errors, filled after this call. Those of the whole model are the ones meant.
        if not arguments[2]:
            require_finite(arguments[1], source)
            inflate_bands(arguments[1], model, source)
            seen.append(arguments[5:])

    handle = model.register_load_state_dict_pre_hook(keep)
    try:
        yield report
    finally:
        handle.remove()
    if not seen:
        return
    missing, unexpected, errors = seen[-1]
    named = re.findall(r'size mismatch for ([^:\s]+): ', '\n'.join(errors))
    report.misshapen = list(dict.fromkeys(named))
    report.unexpected = list(unexpected)
    # Batch norm's counters are younger than many checkpoints, and PyTorch then makes them up.
    counter = 'num_batches_tracked'
    report.missing = [name for name in missing if not name.endswith(counter)]
    absent = {*missing, *report.misshapen}
    names = [name for name in model.state_dict() if not name.endswith(counter)]
    report.loaded = [name for name in names if name not in absent]


@contextmanager
def logged_load(model: nn.Module, source: str) -> Iterator[LoadReport]:
    """Watch a load like :func:`watched_load`, and write its account into the log.

    Raises:
        CheckpointMismatchError: The block ended and nothing was loaded.
    """
    with watched_load(model, source) as report:
        yield report
    report.require_any()
    if report.loaded or report.unexpected:
        report.log()


def _examples(names: Sequence[str]) -> str:
    return f' ({some(names)})' if names else ''

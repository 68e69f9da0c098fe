"""Training data whose random numbers belong to the sample, and which can start within an epoch.

A run that is stopped and resumed has to see the samples it would have seen, augmented as they would
have been. With numbers that workers draw one after the other that takes decoding everything again;
here each sample's numbers come from the seed, the epoch and the sample's place in it, whatever the
number of workers, so that a resumed run reads nothing twice.
"""

import itertools
from collections.abc import Iterator
from typing import Any

from mmdet.registry import DATA_SAMPLERS, DATASETS
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import FUNCTIONS
from torch.utils.data import BatchSampler, Sampler

from .random_state import seeded_random_state
from .stop_requests import outlive_stop_requests


class SeededIndex(int):
    """The index of a sample, with the key of its random numbers: seed, epoch, place in the epoch."""

    key: tuple[int, ...]

    def __new__(cls, index: int, key: tuple[int, ...]) -> 'SeededIndex':
        """Make the index; whole numbers are set when they are made."""
        number = super().__new__(cls, index)
        number.key = key
        return number

    def __getnewargs__(self) -> tuple[int, tuple[int, ...]]:  # type: ignore[override]
        return int(self), self.key


@DATASETS.register_module()
class SeededDataset:
    """A data set that draws a sample's random numbers from the sample's key.

    Everything else is the data set's own: attributes are read from it and written to it. Asked for a
    plain index it does what the data set does.

    Args:
        dataset: A data set or its config.
    """

    dataset: Any

    def __init__(self, dataset: Any) -> None:
        built = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        vars(self)['dataset'] = built

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if not isinstance(index, SeededIndex):
            return self.dataset[index]
        with seeded_random_state(index.key):
            return self.dataset[int(index)]

    def __getattr__(self, name: str) -> Any:
        # While it is unpickled it has no data set yet; and what it can do as a sequence is its own.
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


@DATA_SAMPLERS.register_module()
class SeededSampler(Sampler):
    """A sampler whose indices carry the key of their random numbers.

    The place in the epoch is counted over all ranks, as MMEngine's ``DefaultSampler`` deals samples
    out: rank r of n has the places r, r + n, r + 2n and so on. How many ranks there are therefore
    does not change how a sample is augmented.

    Args:
        dataset: The data set.
        sampler: Config of the sampler that chooses.
        seed: The run's seed; None draws one that all ranks share.
    """

    def __init__(self, dataset: Any, sampler: dict[str, Any], seed: int | None = None) -> None:
        self.seed = sync_random_seed() if seed is None else seed
        self.sampler = DATA_SAMPLERS.build(
            sampler, default_args=dict(dataset=dataset, seed=self.seed)
        )
        # Batch samplers ask it for the shapes of images.
        self.dataset = dataset
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0

    def __iter__(self) -> Iterator[SeededIndex]:
        epoch = self.epoch
        for place, index in enumerate(self.sampler):
            key = self.seed, epoch, place * self.world_size + self.rank
            yield SeededIndex(index, key)

    def __len__(self) -> int:
        return len(self.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0; order and random numbers depend on it."""
        self.epoch = epoch
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def set_seed(self, seed: int) -> None:
        """Take the seed of a run that is resumed."""
        self.seed = seed
        if hasattr(self.sampler, 'seed'):
            self.sampler.seed = seed


@DATA_SAMPLERS.register_module()
class ResumedBatchSampler(Sampler):
    """A batch sampler that can leave out the batches that have been trained on.

    Args:
        sampler: Chooses samples.
        batch_size: Samples in a batch.
        batch_sampler: Config of the batch sampler that puts batches together.

    Attributes:
        first_batch: How many batches the next iteration leaves out.
    """

    def __init__(self, sampler: Sampler, batch_size: int, batch_sampler: dict[str, Any]) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.batch_sampler = DATA_SAMPLERS.build(
            batch_sampler, default_args=dict(sampler=sampler, batch_size=batch_size)
        )
        self.first_batch = 0

    def __iter__(self) -> Iterator[list[int]]:
        return itertools.islice(iter(self.batch_sampler), self.first_batch, None)

    def __len__(self) -> int:
        return len(self.batch_sampler)


@FUNCTIONS.register_module()
def start_worker(worker_id: int) -> None:
    """Prepare a data loader's worker process."""
    outlive_stop_requests()


def end_workers(loader: Any) -> None:
    """End a data loader's workers now rather than when Python terminates them."""
    # The only reference to persistent workers; without it they are asked to end.
    loader._iterator = None


def seeded_dataloader(cfg: dict[str, Any]) -> dict[str, Any]:
    """Change a data loader's config so that it can start within an epoch; return a copy."""
    wrapped = dict(cfg)
    wrapped['dataset'] = dict(type='mmdet.SeededDataset', dataset=cfg['dataset'])
    wrapped['sampler'] = dict(type='mmdet.SeededSampler', sampler=cfg['sampler'])
    batches = cfg.get('batch_sampler')
    if batches is None:
        batches = dict(type=BatchSampler, drop_last=wrapped.pop('drop_last', False))
    wrapped['batch_sampler'] = dict(type='mmdet.ResumedBatchSampler', batch_sampler=batches)
    return wrapped

"""Samples' random numbers belong to them, and what was trained on is not read again."""

import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from rs4d.engine.random_state import get_random_state, set_random_state
from rs4d.engine.seeded_data import seeded_dataloader


class Drawing:
    """Draws from all generators, and notes what is read."""

    metainfo = dict(classes=())

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple:
        assert type(index) is int
        self.read.append(index)
        return index, random.random(), np.random.rand(), torch.rand(()).item()


def loader(workers: int = 0, **more: object) -> DataLoader:
    cfg = dict(
        dataset=Drawing(),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_size=2,
        num_workers=workers,
        collate_fn=list,
        **more,
    )
    built = Runner.build_dataloader(seeded_dataloader(cfg), seed=3)
    assert isinstance(built, DataLoader)
    return built


def epoch(data: DataLoader, number: int) -> list:
    data.batch_sampler.sampler.set_epoch(number)
    return list(data)


@pytest.mark.parametrize('workers', [1, 2])
def test_workers_change_nothing(workers: int) -> None:
    alone, helped = loader(), loader(workers)
    for number in (0, 1):
        assert epoch(alone, number) == epoch(helped, number)


def test_epochs_differ_and_the_run_goes_on_as_before() -> None:
    data = loader()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    expected = random.random(), np.random.rand()
    random.seed(0)
    np.random.seed(0)
    first, second = ({s[0]: s[1:] for b in epoch(data, e) for s in b} for e in (0, 1))
    assert (random.random(), np.random.rand()) == expected
    assert first.keys() == second.keys()
    assert all(first[index] != second[index] for index in first)
    assert len(set(first.values())) == 7


def test_starting_within_an_epoch_reads_only_the_rest() -> None:
    data = loader()
    whole = epoch(data, 2)
    data.dataset.dataset.read.clear()
    data.batch_sampler.first_batch = 2
    assert epoch(data, 2) == whole[2:]
    assert len(data.dataset.read) == 3
    assert len(data) == 4


def test_a_batch_sampler_of_another_kind() -> None:
    batches = dict(type='mmdet.AspectRatioBatchSampler')
    data = loader(batch_sampler=batches)
    data.dataset.dataset.get_data_info = lambda index: dict(width=1 + index % 2, height=1.5)
    whole = list(data)
    assert all(len({index % 2 for index, *_ in batch}) == 1 for batch in whole[:-2])
    data.batch_sampler.first_batch = 1
    assert list(data) == whole[1:]


def test_the_last_batch_may_be_left_out() -> None:
    whole = epoch(loader(), 0)
    assert epoch(loader(drop_last=True), 0) == whole[:3]


def test_attributes_are_the_data_sets() -> None:
    data = loader().dataset
    assert data.metainfo == dict(classes=())
    data.pipeline = 'other'
    assert data.dataset.pipeline == 'other'
    assert pickle.loads(pickle.dumps(data)).pipeline == 'other'
    with pytest.raises(AttributeError):
        data.absent  # noqa: B018 - it raises


def test_random_state_is_plain_data(tmp_path) -> None:
    state = get_random_state()
    torch.save(state, tmp_path / 'state.pth')
    drawn = random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()
    set_random_state(torch.load(tmp_path / 'state.pth', weights_only=True))
    assert (random.gauss(0, 1), np.random.randn(), torch.randn(3).tolist()) == drawn

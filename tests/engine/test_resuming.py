"""What a checkpoint's schedules replace of the config's."""

import torch
from mmengine.optim import CosineAnnealingLR, LinearLR
from torch import nn

from rs4d.engine.resuming import kept_schedules


def schedules(epochs: int, lr: float = 1e-3) -> list:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=lr)
    return [
        LinearLR(optimizer, start_factor=0.01, end=10, by_epoch=False),
        CosineAnnealingLR.build_iter_from_epoch(
            optimizer, T_max=epochs, end=epochs, eta_min_ratio=0.01, epoch_length=7
        ),
    ]


def test_the_same_schedule_is_not_spoken_of() -> None:
    saved = schedules(5)
    saved[1].optimizer.step()
    saved[1].step()
    assert (
        kept_schedules(dict(param_schedulers=[s.state_dict() for s in saved]), schedules(5)) == []
    )
    assert kept_schedules({}, schedules(5)) == []


def test_a_longer_schedule_and_another_rate_are_said() -> None:
    saved = [scheduler.state_dict() for scheduler in schedules(50)]
    kept = kept_schedules(dict(param_schedulers=saved), schedules(36, lr=2e-3))
    assert kept == [
        'T_max 350 instead of 252',
        'end 350 instead of 252',
        'the rate 0.001 instead of 0.002',
    ]

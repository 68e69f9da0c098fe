"""A training of MMEngine's runner on a model of one number, which takes milliseconds."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import Tensor, nn


class Number(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.number = nn.Parameter(torch.ones(1))

    def forward(self, inputs: list[Tensor], mode: str = 'tensor') -> Any:
        loss = (self.number * torch.stack(inputs)).square().mean()
        return dict(loss=loss, error=loss.detach()) if mode == 'loss' else [None] * len(inputs)


class Nothing(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(count=float(len(results)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still until the test moves it, of the processor as on the wall; one number."""
    now = [100.0]
    for name in ('process_time', 'perf_counter'):
        monkeypatch.setattr(time, name, lambda: now[0])
    return now


@pytest.fixture
def toy_runner(tmp_path: Path) -> Iterator[Callable[..., Runner]]:
    """Return a function to a runner: two epochs of four batches, each validated."""

    def build(
        *hooks: Any, batch_size: int = 2, sampler: str = 'DefaultSampler', **kwargs: Any
    ) -> Runner:
        loader = dict(
            batch_size=batch_size,
            dataset=[dict(inputs=torch.ones(1))] * (4 * batch_size),
            sampler=dict(type='DefaultSampler', shuffle=False),
        )
        train_loader = loader | dict(sampler=dict(type=sampler, shuffle=False))
        # Visualizer and logger are one for a process and name, with the folder and the streams of
        # the runner that made them.
        Visualizer._instance_dict.clear()
        settings = dict(
            model=Number(),
            work_dir=str(tmp_path / 'run'),
            train_dataloader=train_loader,
            val_dataloader=loader,
            val_evaluator=[Nothing()],
            train_cfg=dict(by_epoch=True, max_epochs=2),
            val_cfg=dict(),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            custom_hooks=list(hooks),
            experiment_name=f'toy_{len(MMLogger._instance_dict)}_{tmp_path.name}',
        )
        return Runner(**(settings | kwargs))

    yield build
    Visualizer._instance_dict.clear()

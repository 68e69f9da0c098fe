"""Which process is which, by its launcher's variables, and where ranks exchange results."""

import os
from pathlib import Path

import pytest
from mmengine.evaluator import DumpResults
from torch import nn

from rs4d.engine import AtomicRunner
from rs4d.engine.distributed import launched_as
from rs4d.engine.seeded_data import start_worker


@pytest.mark.parametrize(
    ('launcher', 'variables'),
    [
        ('pytorch', ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')),
        ('slurm', ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')),
    ],
)
def test_place_among_processes(
    launcher: str, variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in zip(variables, '350', strict=True):
        monkeypatch.setenv(name, value)
    assert launched_as(launcher) == (3, 5)
    # The variables may be there in a process that was started by hand.
    assert launched_as('none') == (0, 1)
    monkeypatch.delenv(variables[1])
    assert launched_as(launcher) == (0, 1)


def test_results_are_exchanged_in_the_work_dir(tmp_path: Path) -> None:
    runner = AtomicRunner(model=nn.Linear(1, 1), work_dir=str(tmp_path))
    metrics = [
        DumpResults('x.pkl', collect_device='cpu'),
        DumpResults('x.pkl', collect_device='cpu', collect_dir='own'),
        # MMEngine refuses a folder here.
        DumpResults('x.pkl', collect_device='gpu'),
    ]
    assert [metric.collect_dir for metric in runner.build_evaluator(metrics).metrics] == [
        str(tmp_path / '.results_of_ranks'),
        'own',
        None,
    ]


@pytest.mark.skipif(os.name == 'nt', reason='sends signals')
def test_workers_of_any_loader_outlive_a_request_to_stop() -> None:
    cfg = dict(
        dataset=[0], batch_size=1, num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False)
    )
    loader = AtomicRunner.build_dataloader(cfg)
    assert loader.worker_init_fn.func is start_worker  # type: ignore[union-attr]
    assert 'worker_init_fn' not in cfg

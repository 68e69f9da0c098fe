"""Which process is which, by its launcher's variables, and where ranks exchange results."""

from types import SimpleNamespace

import pytest

from rs4d.engine.distributed import collect_results_in, launched_as


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


def test_results_are_exchanged_in_the_work_dir() -> None:
    metrics = [
        SimpleNamespace(collect_device='cpu', collect_dir=None),
        SimpleNamespace(collect_device='cpu', collect_dir='own'),
        # MMEngine refuses a folder here.
        SimpleNamespace(collect_device='gpu', collect_dir=None),
    ]
    collect_results_in('w', SimpleNamespace(evaluator=SimpleNamespace(metrics=metrics)))
    assert [metric.collect_dir for metric in metrics] == ['w/.results_of_ranks', 'own', None]
    collect_results_in('w', None)

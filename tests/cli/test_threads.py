"""As many threads as a container's quota feeds, read from files as the kernel writes them."""

from pathlib import Path

import pytest

from rs4d.cli import threads
from rs4d.cli.threads import set_threads

V2 = '0::/job/step\n'
V1 = '4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n'


@pytest.fixture(autouse=True)
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight cores, and no control groups until a test writes some."""
    monkeypatch.setattr(threads, '_CGROUPS', tmp_path)
    monkeypatch.setattr(threads, '_OWN_CGROUPS', tmp_path / 'own')
    monkeypatch.setattr(threads, '_cores', lambda: 8)
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ('files', 'number'),
    [
        ({}, None),
        ({'own': V2}, None),
        ({'own': V2, 'job/step/cpu.max': 'max 100000\n'}, None),
        ({'own': V2, 'job/step/cpu.max': '400000 100000\n'}, '4'),
        ({'own': V2, 'job/step/cpu.max': '150000 100000\n'}, '2'),
        ({'own': V2, 'job/step/cpu.max': '1600000 100000\n'}, None),
        # A group's quota holds for all groups in it.
        ({'own': V2, 'job/step/cpu.max': 'max 100000\n', 'job/cpu.max': '300000 100000\n'}, '3'),
        # In a container its own group is the root of what it sees.
        ({'own': V2, 'cpu.max': '50000 100000\n'}, '1'),
        ({'own': V2, 'unified/job/step/cpu.max': '200000 100000\n'}, '2'),
        (
            {
                'own': V1,
                'cpu,cpuacct/job/cpu.cfs_quota_us': '250000\n',
                'cpu,cpuacct/job/cpu.cfs_period_us': '100000\n',
            },
            '3',
        ),
        (
            {'own': V1, 'cpu/cpu.cfs_quota_us': '-1\n', 'cpu/cpu.cfs_period_us': '100000\n'},
            None,
        ),
    ],
)
def test_number_under_a_quota(system: Path, files: dict[str, str], number: str | None) -> None:
    write(system, files)
    environment: dict[str, str] = {}
    set_threads(environment)
    assert environment.get('OMP_NUM_THREADS') == number
    assert environment['GOMP_SPINCOUNT'] == '10000'


def test_what_the_user_says_stays(system: Path) -> None:
    write(system, {'own': V2, 'cpu.max': '200000 100000\n'})
    environment = {'OMP_NUM_THREADS': '7', 'OMP_WAIT_POLICY': 'active'}
    set_threads(environment)
    assert environment == {'OMP_NUM_THREADS': '7', 'OMP_WAIT_POLICY': 'active'}


def test_this_machine_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert threads._cores() >= 1
    assert all(quota > 0 for quota in threads._quotas())

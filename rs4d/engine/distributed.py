"""Several processes on CPUs, which MMEngine's launchers do not start."""

import datetime
import os
import subprocess

import torch
import torch.distributed
from mmengine.dist import is_distributed

from rs4d.errors import ConfigError

# What each launcher calls rank, number of processes and number on this machine.
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def _missing(launcher: str) -> list[str]:
    return [name for name in _VARIABLES.get(launcher, ()) if name not in os.environ]


def require_launcher(launcher: str, local_rank: int = 0) -> None:
    """Raise if this process is not one of those that a launcher starts.

    Raises:
        ConfigError: The launcher has not started it, or there are more processes than GPUs.
    """
    missing = _missing(launcher)
    if missing:
        raise ConfigError(
            f'--launcher {launcher} is for processes that a launcher has started, which sets '
            f'{", ".join(missing)} in the environment. Start several with tools/dist_train.sh CONFIG '
            'NUMBER or tools/slurm_train.sh, or leave --launcher out: one process uses all cores of '
            'a CPU by threads.'
        )
    rank = int(os.environ.setdefault('LOCAL_RANK', str(local_rank)))
    if launcher == 'pytorch' and 0 < torch.cuda.device_count() <= rank:
        raise ConfigError(
            f'--launcher {launcher} gives each process a GPU, and process {rank} of this machine '
            f'finds only {torch.cuda.device_count()}. Start fewer processes.'
        )


def launched_as(launcher: str) -> tuple[int, int]:
    """Tell which process this is, also before it has joined the others or after it has left them.

    Returns:
        Its rank and the number of processes; (0, 1) if no launcher has started it.
    """
    if launcher not in _VARIABLES or _missing(launcher):
        return 0, 1
    rank, number, _ = _VARIABLES[launcher]
    return int(os.environ[rank]), int(os.environ[number])


def init_on_cpu(launcher: str, timeout: float | None = None) -> None:
    """Join the other processes by Gloo, where PyTorch finds no GPU, unless they are joined already.

    MMEngine's own initialisation gives every process a GPU. Who waits longer than ``timeout`` seconds
    for the others gives up.
    """
    if is_distributed():
        return
    for name, variable in zip(_VARIABLES['pytorch'], _VARIABLES[launcher], strict=True):
        os.environ[name] = os.environ[variable]
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_host() if launcher == 'slurm' else '127.0.0.1'
    os.environ.setdefault('MASTER_PORT', '29500')
    patience = None if timeout is None else datetime.timedelta(seconds=timeout)
    torch.distributed.init_process_group('gloo', timeout=patience)


def leave() -> None:
    """Leave the other processes in good order, if there are any."""
    if is_distributed():
        torch.distributed.destroy_process_group()


def _first_host() -> str:
    command = ['scontrol', 'show', 'hostname', os.environ['SLURM_NODELIST']]
    hosts = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return hosts[0]

"""How long a training waited for data, from its log."""

import statistics

from rs4d.visualization import TrainingLogError, read_run


def describe_waits(path: str, skip: int = 0) -> str:
    """Sum up the steps of a run.

    Args:
        path: A work dir, or a ``scalars.json``.
        skip: How many steps at the beginning are left out.

    Returns:
        One line: the share of the time of all steps, and that of the median and the worst step.

    Raises:
        TrainingLogError: There is no log, it has no times, or no step is left.
    """
    run = read_run(path)
    missing = [key for key in ('time', 'data_time') if key not in run.training]
    if missing:
        raise TrainingLogError(
            f"The log of '{path}' has no {' and no '.join(missing)}. Train with IterTimerHook "
            '(default_hooks.timer), as the configs here do.'
        )
    (steps, times), (_, waits) = run.training['time'], run.training['data_time']
    times, waits = times[skip:], waits[skip:]
    if not times:
        raise TrainingLogError(
            f"The log of '{path}' has {len(steps)} entries, and --skip leaves none of them. Train "
            'for longer, or skip fewer.'
        )
    shares = [wait / time for wait, time in zip(waits, times, strict=True)]
    return (
        f'{run.label}: {len(times)} entries, {sum(times):.1f} s, of which {sum(waits):.2f} s '
        f'({sum(waits) / sum(times):.2%}) waiting for data; median {statistics.median(shares):.2%}, '
        f'worst {max(shares):.2%} of an entry; median entry {statistics.median(times):.3f} s'
    )

"""A study as array jobs of Slurm, which then does the scheduling."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from .plan import Study
from .record import left_to_do

_HEAD = """#!/usr/bin/env bash
# {title}: {count} runs as array jobs, a step after the other, and the table at the end.
# Run it in the folder where the study would be run. SBATCH_ARGS adds options to all jobs, such as
# "--partition=short --gres=gpu:1".
set -euo pipefail
read -r -a more <<<"${{SBATCH_ARGS:-}}"
mkdir -p {folder}
submit() {{
    sbatch --parsable --ntasks=1 --cpus-per-task=1 ${{more[@]+"${{more[@]}}"}} "$@"
}}
"""


def slurm_script(
    study: Study, folder: Path, words: Sequence[str], record: Path | None = None
) -> str:
    """Write a shell script that submits what is left to do of a study.

    Args:
        study: The study.
        folder: Its work dir, which all nodes see.
        words: The command line that does it here, ``rs4d study ...``.
        record: A file of what has been done elsewhere, which is not done again.
    """
    command = shlex.join(words)
    left = left_to_do(study, folder, record)
    script = [_HEAD.format(title=study.title, count=len(left), folder=_quoted(folder))]
    before: list[str] = []
    for place, step in enumerate(dict.fromkeys(run.step for run in left)):
        numbers = ','.join(str(run.number) for run in left if run.step == step)
        words = [f'--array={numbers}', f'--output={_quoted(folder / "slurm-%A_%a.out")}', *before]
        task = shlex.quote(f'{command} --only "$SLURM_ARRAY_TASK_ID"')
        script.append(_submission(f'step{place}', f'{study.name}-{place}', words, task))
        before = [f'--dependency=afterok:"$step{place}"']
    words = [f'--output={_quoted(folder / "slurm-%j.out")}', *before]
    script.append(_submission('table', f'{study.name}-table', words, shlex.quote(command)))
    return '\n'.join(script)


def _submission(variable: str, name: str, words: Sequence[str], task: str) -> str:
    return (
        f'{variable}=$(submit --job-name={shlex.quote(name)} {" ".join(words)} \\\n    --wrap={task})\n'
        f'echo "{variable}: job ${variable}"\n'
    )


def _quoted(path: Path) -> str:
    return shlex.quote(path.as_posix())

"""Testing a checkpoint: its metrics, predictions and pictures."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS

from rs4d.engine.distributed import leave
from rs4d.engine.hooks.test_cost_hook import TestCostHook
from rs4d.engine.precision import choose_dtype
from rs4d.engine.preflight import check_testing
from rs4d.engine.terminal import summarise
from rs4d.errors import ConfigError, Problems
from rs4d.evaluation import METRICS, InstanceMetric, write_results_of
from rs4d.files import keep_earlier, make_folder, write_json
from rs4d.models.part_checks import check_parts

from .run_record import describe_run


def test(
    cfg: Config,
    checkpoint: str,
    *,
    amp: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
) -> dict[str, Any]:
    """Score a checkpoint and write its metrics to ``metrics.json`` in the work dir.

    What a report is made of lies in a folder of the test's own, WORK_DIR/TIME_OF_START: the truth that
    was scored, all predictions, and the metrics once more.

    Args:
        cfg: The config, with ``work_dir``; changed in place.
        checkpoint: The checkpoint file.
        amp: Mixed precision, ``'bf16'``, ``'fp16'`` or ``'auto'``; None leaves it to the config's
            ``dtype``.
        out: Where all predictions are written, as COCO results.
        show_dir: Where pictures of predictions are written, under the work dir and the time of start.

    Returns:
        The metrics; what an earlier test had written is kept aside. The file also has the config, the
        checkpoint, and under ``run`` what `describe_run` says.

    Raises:
        UserError: Something does not fit: an option, the checkpoint, the data.
    """
    choose_dtype(cfg, amp, training=False)
    make_folder(cfg.work_dir, '--work-dir')
    cfg.load_from, cfg.resume = checkpoint, False
    if show_dir:
        _draw_predictions(cfg, show_dir)
    cfg.runner_type = cfg.get('runner_type', 'AtomicRunner')
    runner = RUNNERS.build(cfg)
    problems = Problems()
    with problems.noted():
        check_parts(runner.model)
    with problems.noted():
        check_testing(runner)
    problems.raise_all()
    runner.logger.info(summarise(runner))
    if out:
        write_results_of(runner.test_loop, out)
    if out and is_main_process():
        keep_earlier(out)
    cost = TestCostHook()
    runner.register_hook(cost)
    for metric in runner.test_loop.evaluator.metrics:
        if isinstance(metric, InstanceMetric):
            metric.record_to = Path(runner.log_dir)
    metrics = runner.test()
    if is_main_process():
        file = Path(cfg.work_dir) / 'metrics.json'
        keep_earlier(file)
        said = dict(config=cfg.filename, checkpoint=checkpoint, run=describe_run(runner, cost))
        for place in (file, Path(runner.log_dir) / METRICS):
            write_json(place, metrics | said, indent=2)
    leave()
    return metrics


def _draw_predictions(cfg: Config, folder: str) -> None:
    """Switch the config's visualization hook on."""
    hooks = cfg.get('default_hooks', {})
    if 'visualization' not in hooks:
        raise ConfigError(
            f"--show-dir: the config '{cfg.filename}' has no default_hooks.visualization, which "
            "draws. Add visualization=dict(type='InstanceVisualizationHook') to its default_hooks."
        )
    if hooks.visualization.type == 'DetVisualizationHook':
        # MMDetection's writes pictures of images with the same name over each other.
        hooks.visualization.type = 'InstanceVisualizationHook'
    hooks.visualization.draw = True
    hooks.visualization.test_out_dir = folder

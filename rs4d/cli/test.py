"""Score a checkpoint: COCO AP of boxes and masks, or for stage 1 the agreement with the teacher.

Prints the metrics and writes them to metrics.json in the work dir.
Example: python tools/test.py configs/rs4d/rs4d-base_bbox_ssdd.py work_dirs/ssdd/latest.pth
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import RUNNERS

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.checkpoints.checks import require_checkpoint
from rs4d.cli.common import add_common_arguments, keep_earlier, read_config, run_tool
from rs4d.engine.distributed import leave
from rs4d.engine.preflight import check_testing
from rs4d.errors import SetupError
from rs4d.evaluation import write_results_of
from rs4d.models.part_checks import check_parts


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE.json', help='write all predictions here, as COCO results'
    )
    parser.add_argument(
        '--show-dir', help='draw predictions into this folder, under work dir and time of start'
    )
    add_common_arguments(parser)
    return parser.parse_args(argv)


def test(args: argparse.Namespace) -> None:
    """Check what can be checked, run the test and write its metrics."""
    cfg = read_config(args)
    require_checkpoint(args.checkpoint, 'the command line')
    cfg.load_from, cfg.resume = args.checkpoint, False
    if args.show_dir:
        draw_predictions(cfg, args.show_dir)
    cfg.runner_type = cfg.get('runner_type', 'AtomicRunner')
    runner = RUNNERS.build(cfg)
    check_parts(runner.model)
    check_testing(runner)
    if args.out:
        write_results_of(runner.test_loop, args.out)
    if args.out and is_main_process():
        keep_earlier(args.out)
    metrics = runner.test()
    if is_main_process():
        write_metrics(Path(cfg.work_dir) / 'metrics.json', metrics, args)
    leave()


def draw_predictions(cfg: Config, folder: str) -> None:
    """Switch the config's visualization hook on."""
    hooks = cfg.get('default_hooks', {})
    if 'visualization' not in hooks:
        raise SetupError(
            f"--show-dir: the config '{cfg.filename}' has no default_hooks.visualization, which "
            "draws. Add visualization=dict(type='InstanceVisualizationHook') to its default_hooks."
        )
    if hooks.visualization.type == 'DetVisualizationHook':
        # MMDetection's writes pictures of images with the same name over each other.
        hooks.visualization.type = 'InstanceVisualizationHook'
    hooks.visualization.draw = True
    hooks.visualization.test_out_dir = folder


def write_metrics(file: Path, metrics: dict[str, Any], args: argparse.Namespace) -> None:
    """Write the metrics, what they are of, and print them; an earlier file is kept aside."""
    earlier = keep_earlier(file)
    if earlier is not None:
        print(f'The earlier metrics are now in {earlier}.')
    content = {**metrics, 'config': args.config, 'checkpoint': args.checkpoint}
    file.write_text(json.dumps(content, indent=2) + '\n')
    width = max((len(name) for name in metrics), default=0)
    for name, value in metrics.items():
        print(f'{name:<{width}}  {value:.4f}' if isinstance(value, float) else f'{name}  {value}')
    print(f'Metrics: {file}')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    return run_tool('test', lambda: test(args))


if __name__ == '__main__':
    sys.exit(main())

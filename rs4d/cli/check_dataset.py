"""Check all data sets of a config for what makes AP 0 or -1, and print everything that is found.

Looked at are the annotation files (structure, categories, ids, boxes, polygons), the image files
(missing, broken, of another size than noted) and their contents (the same image twice, or in train
and val). Errors ruin or stop a run; warnings are left to you. Data sets without labels are checked
for broken images and images that occur twice, in files and in tars.

Exit code: 0 if there is no error, 1 if there is (with --strict also for a warning), 2 if the config
cannot be read.
Example: python tools/analysis_tools/check_dataset.py configs/rs4d/rs4d-base_bbox_ssdd.py
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from mmengine.registry import init_default_scope

import rs4d  # noqa: F401 - registers the models and completes mmcv, before mmdet needs it
from rs4d.cli.common import OptionsAction, load_config, run_tool
from rs4d.datasets.config_checks import check_config
from rs4d.datasets.report import DatasetReport
from rs4d.errors import SetupError

EXIT_FOUND = 1


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument('--json', metavar='FILE', help='also write everything to this file')
    parser.add_argument(
        '--annotations-only', action='store_true', help='do not look at the image files'
    )
    parser.add_argument(
        '--decode', action='store_true', help='decode every image to its end, not its header alone'
    )
    parser.add_argument('--strict', action='store_true', help='let warnings fail, too')
    parser.add_argument('--cfg-options', nargs='+', action=OptionsAction, metavar='KEY=VALUE')
    return parser.parse_args(argv)


def check(args: argparse.Namespace) -> DatasetReport:
    """Check and print."""
    cfg = load_config(args.config, args.cfg_options)
    if args.json and not Path(args.json).resolve().parent.is_dir():
        raise SetupError(f"--json '{args.json}': its folder does not exist. Make it.")
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    report = check_config(cfg, files=not args.annotations_only, decode=args.decode)
    print(report)
    if args.json:
        Path(args.json).write_text(json.dumps(report.as_dict(), indent=2) + '\n')
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    args = parse_args(argv)
    reports: list[DatasetReport] = []
    code = run_tool('check_dataset', lambda: reports.append(check(args)))
    if code:
        return code
    failed = reports[0].num_errors or (args.strict and reports[0].num_warnings)
    return EXIT_FOUND if failed else 0


if __name__ == '__main__':
    sys.exit(main())

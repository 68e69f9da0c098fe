"""Check all data sets of a config for what makes AP 0 or -1, and print everything that is found.

Looked at are the annotation files (structure, categories, ids, boxes, polygons), the image files
(missing, broken, of another size than noted) and their contents (the same image twice, or in train
and val). Errors ruin or stop a run; warnings are left to you. Data sets without labels are checked
for broken images and images that occur twice, in files and in tars.

Exit code: 0 if there is no error, 1 if there is (with --strict also for a warning), 2 if the config
cannot be read.
Example: rs4d check configs/rs4d/rs4d-base_bbox_ssdd.py
"""

import argparse
from pathlib import Path

from .common import add_config_arguments, add_data_arguments, read_config

EXIT_FOUND = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how much is checked, and where to say it."""
    add_config_arguments(parser)
    add_data_arguments(parser)
    add = parser.add_argument
    add('--json', metavar='FILE', help='also write everything to this file')
    add('--annotations-only', action='store_true', help='do not look at the image files')
    add('--decode', action='store_true', help='decode every image to its end, not its header alone')
    add('--strict', action='store_true', help='let warnings fail, too')


def run(args: argparse.Namespace) -> int:
    """Check and print."""
    from mmengine.registry import init_default_scope

    from rs4d.datasets.config_checks import check_config
    from rs4d.errors import ConfigError
    from rs4d.files import write_json

    cfg = read_config(args)
    if args.json and not Path(args.json).resolve().parent.is_dir():
        raise ConfigError(f"--json '{args.json}': its folder does not exist. Make it.")
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    report = check_config(cfg, files=not args.annotations_only, decode=args.decode)
    print(report)
    if args.json:
        write_json(args.json, report.as_dict(), indent=2)
    failed = report.num_errors or (args.strict and report.num_warnings)
    return EXIT_FOUND if failed else 0

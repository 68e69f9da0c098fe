"""The matrix of all configs: method, backbone, head, data set, costs and published AP."""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from tqdm import tqdm

from rs4d.config import inner_datasets, load_config
from rs4d.config.packages import leaf_configs
from rs4d.errors import ConfigError
from rs4d.files import write_text

from .complexity import (
    Scope,
    build_for_counting,
    count_complexity,
    forget_checkpoints,
    input_shape,
)
from .marked_page import Marks

BEGIN = '<!-- matrix: begin; written by rs4d configs --write -->'
END = '<!-- matrix: end -->'
MARKS = Marks(BEGIN, END)
HEADER = (
    'config',
    'method',
    'backbone',
    'head',
    'data set',
    'input',
    'parameters, M',
    'multiply-adds, G',
    'published AP',
)
COST_COLUMNS = (6, 7)

# What is in neither of these is shown by the name of its type.
_HEADS = {
    'MaskRCNN': 'Mask R-CNN',
    'OneStageMaskRCNN': 'light',
    'PromptMaskRCNN': 'prompt',
    'PromptQueryDetector': 'query',
    'CascadeRCNN': 'Cascade Mask R-CNN',
    'EmptySafeSOLOv2': 'SOLOv2',
    'EmptySafeCondInst': 'CondInst',
    'EmptySafeRTMDet': 'RTMDet-Ins',
}
DATA_NAMES = {
    'SSDDInsSegDataset': 'SSDD',
    'WHUInsSegDataset': 'WHU',
    'NWPUInsSegDataset': 'NWPU',
    'HRSIDInsSegDataset': 'HRSID',
    'ISAIDInsSegDataset': 'iSAID',
    'CocoInsSegDataset': 'your own',
    'SA1BDataset': 'SA-1B',
    'ImageFolders': 'own images',
    'ScenesInsSegDataset': 'scenes',
}
_SAM_METHODS = {
    'Mask R-CNN': 'SAM-seg (Mask R-CNN)',
    'Mask2Former': 'SAM-seg (Mask2Former)',
    'prompt': 'RSPrompter-anchor',
    'query': 'RSPrompter-query',
}
# Box and mask AP in per cent on WHU's test split and on the val splits of NWPU and SSDD, as the paper
# of RS4D (Yang et al., IEEE TGRS 2026) tabulates them (RSPrompter is arXiv 2306.16269); MC-SAM
# SEG as arXiv 2408.08576 and DynamicVis as arXiv 2503.16426. README.md shows the same table.
PUBLISHED_AP: Mapping[str, Mapping[str, tuple[float | None, float]]] = {
    'Mask R-CNN R50': {'WHU': (66.4, 65.6), 'NWPU': (62.3, 59.7), 'SSDD': (67.7, 64.3)},
    'Mask2Former': {'WHU': (69.3, 69.2), 'NWPU': (57.4, 58.8), 'SSDD': (62.7, 64.4)},
    'SAM-seg (Mask R-CNN)': {'WHU': (70.3, 70.1), 'NWPU': (68.8, 65.2), 'SSDD': (68.7, 66.1)},
    'SAM-seg (Mask2Former)': {'WHU': (70.7, 71.1), 'NWPU': (63.1, 64.3), 'SSDD': (63.0, 66.5)},
    'RSPrompter-anchor': {'WHU': (71.9, 70.4), 'NWPU': (70.3, 66.1), 'SSDD': (70.4, 66.8)},
    'RSPrompter-query': {'WHU': (72.5, 72.5), 'NWPU': (68.4, 67.5), 'SSDD': (66.0, 67.3)},
    'MC-SAM SEG': {'WHU': (None, 71.2)},
    'DynamicVis-B, 36.8 M': {'NWPU': (68.5, 67.3), 'SSDD': (70.8, 70.8)},
    'DynamicVis, 91.3 M': {'NWPU': (69.1, 67.8), 'SSDD': (71.5, 71.0)},
}
NONE = '\N{EN DASH}'


class ConfigRow(NamedTuple):
    """The cells of a config's row; costs and published AP are a dash until, or if not, known."""

    config: str
    method: str
    backbone: str
    head: str
    data: str
    size: str
    parameters: str = NONE
    multiply_adds: str = NONE
    published: str = NONE


def describe_config(cfg: Config, path: Path) -> ConfigRow:
    """Say what a config is made of; its path is from the folder that holds ``configs``."""
    model, (height, width) = cfg.model, input_shape(cfg)
    if 'student' in model:
        method, encoder, head = 'RS4D, stage 1', model.student, f'teacher {_encoder(model.teacher)}'
    else:
        encoder, head = model.backbone, _HEADS.get(model.type, model.type)
        method = _method(encoder, head)
    sets = inner_datasets(cfg.train_dataloader.dataset)
    data = ' + '.join(DATA_NAMES.get(found['type'], found['type']) for found in sets)
    return ConfigRow(
        config=f'[{path.stem}](../{path.as_posix()})',
        method=method,
        backbone=_encoder(encoder),
        head=head,
        data=data,
        size=str(height) if height == width else f'{height} x {width}',
        published=published_cell(method, data),
    )


def published_cell(method: str, data: str) -> str:
    """Write a published AP, ``box / mask`` in per cent, or a dash."""
    found = PUBLISHED_AP.get(method, {}).get(data)
    if found is None:
        return NONE
    return ' / '.join(NONE if value is None else f'{value:.1f}' for value in found)


def add_costs(row: ConfigRow, cfg: Config, known: dict[str, tuple[str, str]]) -> ConfigRow:
    """Count a config's encoder and whole model at the config's own input size.

    Args:
        row: The config's row.
        cfg: The config.
        known: What has been counted, by model: data sets of as many classes share one. Added to.

    Returns:
        The row with its costs.
    """
    shape = input_shape(cfg)
    model = deepcopy(cfg.model.to_dict())
    forget_checkpoints(model)
    key = json.dumps([shape, model], sort_keys=True, default=repr)
    if key not in known:
        known[key] = _count(cfg.model, shape)
    parameters, multiply_adds = known[key]
    return row._replace(parameters=parameters, multiply_adds=multiply_adds)


def make_matrix(root: Path) -> str:
    """Read and count every config under ``root / 'configs'`` into a table, which takes minutes."""
    known: dict[str, tuple[str, str]] = {}
    rows = []
    for path in tqdm(leaf_configs(root), unit='config'):
        cfg = load_config(path)
        rows.append(add_costs(describe_config(cfg, path.relative_to(root)), cfg, known))
    return render_matrix(rows)


def render_matrix(rows: Sequence[ConfigRow]) -> str:
    """Write rows as a Markdown table, without a newline at its end."""
    lines = [HEADER, ('---',) * len(HEADER), *rows]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def write_matrix(root: Path, file: Path) -> None:
    """Put the table of all configs under ``root / 'configs'`` into a Markdown file, between its marks.

    Raises:
        ConfigError: There is no such file, or the comments are not there, once and in order.
    """
    if not file.is_file():
        raise ConfigError(f"'{file}' does not exist. Name the Markdown file that holds the table.")
    # Its marks are looked for before the minutes of counting, its text after them.
    replace_matrix(file.read_text(encoding='utf-8'), '', file)
    table = make_matrix(root)
    write_text(file, replace_matrix(file.read_text(encoding='utf-8'), table, file))


def replace_matrix(text: str, table: str, file: Path) -> str:
    """Put a table between the two comments that mark its place in a file's text.

    Raises:
        ConfigError: The comments are not there, once and in order.
    """
    filled = MARKS.fill(text, table)
    if filled is None:
        raise ConfigError(
            f"'{file}' does not have the two lines that mark the table's place, once and in this "
            f'order: {BEGIN} and {END}. Add them where it should be.'
        )
    return filled


def _method(encoder: Mapping[str, Any], head: str) -> str:
    kind = encoder['type']
    if kind == 'RSMamba':
        return 'RS4D' if encoder.get('init_cfg') else 'RSMamba, not distilled'
    if kind == 'SAMViT':
        return _SAM_METHODS.get(head, f'SAM + {head}')
    if kind == 'ResNet' and head == 'Mask R-CNN':
        return f'{head} R{encoder["depth"]}'
    return head


def _encoder(cfg: Mapping[str, Any]) -> str:
    kind, arch = cfg['type'], cfg.get('arch', 'base')
    if kind == 'RSMamba':
        if isinstance(arch, str):
            return f'RSMamba-{arch}'
        stem = ' behind a stem' if cfg.get('stem_channels') else ''
        return f'RSMamba, {arch["num_layers"]} blocks of {arch["embed_dims"]}{stem}'
    if kind == 'SAMViT' and isinstance(arch, str):
        return f'SAM ViT-{arch[0].upper()}'
    if kind == 'TransformersSAM' and isinstance(arch, str):
        return 'SAM 3' if arch == 'sam3' else f'SAM 2 Hiera-{arch.removeprefix("sam2-")}'
    if kind == 'ResNet':
        return f'ResNet-{cfg["depth"]}'
    if kind == 'SwinTransformer' and tuple(cfg['depths']) == (2, 2, 6, 2):
        return 'Swin-T'
    return cfg.get('model_name', kind)


def _count(model: Mapping[str, Any], shape: tuple[int, int]) -> tuple[str, str]:
    """Count parameters and multiply-adds of encoder / whole model; a distiller is no whole."""
    scopes: tuple[Scope, ...] = ('backbone',) if 'student' in model else ('backbone', 'model')
    built = build_for_counting(model, scopes[-1])
    costs = [count_complexity(built, shape, scope) for scope in scopes]
    return (
        _pair([cost.parameters / 1e6 for cost in costs]),
        _pair([cost.multiply_adds / 1e9 for cost in costs]),
    )


def _pair(numbers: Sequence[float]) -> str:
    return ' / '.join([*(f'{number:.1f}' for number in numbers), NONE][:2])

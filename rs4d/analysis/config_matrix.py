"""The matrix of all configs: method, backbone, head, data set, costs and published AP."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from rs4d.config import inner_datasets
from rs4d.errors import SetupError

from .complexity import build_for_counting, count_complexity, forget_checkpoints
from .published_ap import NONE, published_cell

FOLDERS = ('rs4d', 'baselines', 'backbones', 'distill', 'demo')
BEGIN = '<!-- matrix: begin; written by tools/analysis_tools/list_configs.py -->'
END = '<!-- matrix: end -->'
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
    'PromptMaskRCNN': 'prompt',
    'CascadeRCNN': 'Cascade Mask R-CNN',
    'EmptySafeSOLOv2': 'SOLOv2',
    'EmptySafeCondInst': 'CondInst',
    'EmptySafeRTMDet': 'RTMDet-Ins',
}
_DATA = {
    'SSDDInsSegDataset': 'SSDD',
    'WHUInsSegDataset': 'WHU',
    'NWPUInsSegDataset': 'NWPU',
    'SA1BDataset': 'SA-1B',
    'ScenesInsSegDataset': 'scenes',
}
_SAM_METHODS = {
    'Mask R-CNN': 'SAM-seg (Mask R-CNN)',
    'Mask2Former': 'SAM-seg (Mask2Former)',
    'prompt': 'RSPrompter-anchor',
}


@dataclass(frozen=True)
class Costs:
    """What an encoder and the whole model around it cost for one image.

    Attributes:
        encoder_parameters: Of the backbone, or of a distiller's student.
        parameters: Of the whole detector; None for a distiller.
        encoder_multiply_adds: Of the encoder.
        multiply_adds: Of a detector's whole prediction; None for a distiller.
    """

    encoder_parameters: int
    parameters: int | None
    encoder_multiply_adds: int
    multiply_adds: int | None


@dataclass(frozen=True)
class ConfigRow:
    """One config's row.

    Attributes:
        path: The config, from the folder that holds ``configs``.
        method: The method, by its published name where it has one.
        backbone: The encoder.
        head: The head, or the teacher of stage 1.
        data: The data set that is trained on.
        size: Side of the input in pixels.
        costs: What the model costs, if it has been counted.
    """

    path: Path
    method: str
    backbone: str
    head: str
    data: str
    size: int
    costs: Costs | None = None

    def cells(self) -> tuple[str, ...]:
        """Write the row's cells, in the order of ``HEADER``."""
        costs = self.costs
        return (
            f'[{self.path.stem}](../{self.path.as_posix()})',
            self.method,
            self.backbone,
            self.head,
            self.data,
            str(self.size),
            NONE if costs is None else _pair(costs.encoder_parameters, costs.parameters, 1e6),
            NONE if costs is None else _pair(costs.encoder_multiply_adds, costs.multiply_adds, 1e9),
            published_cell(self.method, self.data),
        )


def leaf_configs(root: Path) -> list[Path]:
    """Find the configs that can be run.

    Args:
        root: The folder that holds ``configs``.

    Returns:
        Their paths, by folder and name.

    Raises:
        SetupError: If there are none.
    """
    found = [
        path for folder in FOLDERS for path in sorted((root / 'configs' / folder).rglob('*.py'))
    ]
    if not found:
        raise SetupError(
            f"There are no configs under '{root / 'configs'}'. Name the folder of a checkout of rs4d."
        )
    return found


def describe_config(cfg: Config, path: Path) -> ConfigRow:
    """Say what a config is made of, from its content.

    Args:
        cfg: The config.
        path: Its path, from the folder that holds ``configs``.

    Returns:
        The row, without costs.
    """
    model = cfg.model
    if 'student' in model:
        method, encoder, head = 'RS4D, stage 1', model.student, f'teacher {_encoder(model.teacher)}'
    else:
        encoder, head = model.backbone, _HEADS.get(model.type, model.type)
        method = _method(encoder, head)
    return ConfigRow(
        path=path,
        method=method,
        backbone=_encoder(encoder),
        head=head,
        data=' + '.join(
            _DATA.get(d['type'], d['type']) for d in inner_datasets(cfg.train_dataloader.dataset)
        ),
        size=cfg.get('image_size', 1024),
    )


class CostCounter:
    """Counts models, each distinct one once.

    Configs of several data sets share a model where they have the same number of classes.
    """

    def __init__(self) -> None:
        self._known: dict[str, Costs] = {}

    def count(self, cfg: Config) -> Costs:
        """Count a config's encoder and whole model at the config's own input size.

        Encoders are counted on the meta device, without memory or time; see
        :mod:`rs4d.analysis.complexity` for what is counted of the rest.

        Args:
            cfg: The config.

        Returns:
            The costs.
        """
        size = cfg.get('image_size', 1024)
        model = deepcopy(cfg.model.to_dict())
        forget_checkpoints(model)
        key = json.dumps([size, model], sort_keys=True, default=repr)
        if key not in self._known:
            self._known[key] = _count(cfg.model, (size, size))
        return self._known[key]


def add_costs(row: ConfigRow, cfg: Config, counter: CostCounter) -> ConfigRow:
    """Return a config's row with its costs."""
    return replace(row, costs=counter.count(cfg))


def render_matrix(rows: list[ConfigRow]) -> str:
    """Write rows as a Markdown table.

    Args:
        rows: The rows.

    Returns:
        The table, without a newline at its end.
    """
    lines = [HEADER, ('---',) * len(HEADER), *(row.cells() for row in rows)]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def replace_matrix(text: str, table: str, file: Path) -> str:
    """Put a table between the two comments that mark its place.

    Args:
        text: The Markdown file's text.
        table: The table.
        file: Where the text is from, for messages.

    Returns:
        The text with the new table.

    Raises:
        SetupError: If the comments are not there, once and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise SetupError(
            f"'{file}' does not have the two lines that mark the table's place, once and in this "
            f'order: {BEGIN} and {END}. Add them where it should be.'
        )
    return f'{before}{BEGIN}\n\n{table}\n\n{END}{after}'


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
        return f'RSMamba, {arch["num_layers"]} blocks of {arch["embed_dims"]}'
    if kind == 'SAMViT' and isinstance(arch, str):
        return f'SAM ViT-{arch[0].upper()}'
    if kind == 'ResNet':
        return f'ResNet-{cfg["depth"]}'
    if kind == 'SwinTransformer' and tuple(cfg['depths']) == (2, 2, 6, 2):
        return 'Swin-T'
    return cfg.get('model_name', kind)


def _count(model: Mapping[str, Any], shape: tuple[int, int]) -> Costs:
    if 'student' in model:
        encoder = count_complexity(build_for_counting(model), shape)
        return Costs(encoder.parameters, None, encoder.multiply_adds, None)
    built = build_for_counting(model, 'model')
    encoder = count_complexity(built, shape)
    whole = count_complexity(built, shape, 'model')
    return Costs(encoder.parameters, whole.parameters, encoder.multiply_adds, whole.multiply_adds)


def _pair(encoder: int, whole: int | None, unit: float) -> str:
    return f'{encoder / unit:.1f} / {NONE if whole is None else f"{whole / unit:.1f}"}'

"""The matrix of all configs: method, backbone, head, data set, costs and published AP."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from rs4d.config import inner_datasets, load_config
from rs4d.config.packages import leaf_configs
from rs4d.errors import SetupError
from rs4d.files import write_text

from .complexity import build_for_counting, count_complexity, forget_checkpoints, input_shape
from .published_ap import NONE, published_cell

BEGIN = '<!-- matrix: begin; written by rs4d configs --write -->'
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
    'ImageFolders': 'own images',
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
        shape: Height and width of the input in pixels.
        costs: What the model costs, if it has been counted.
    """

    path: Path
    method: str
    backbone: str
    head: str
    data: str
    shape: tuple[int, int]
    costs: Costs | None = None

    def cells(self) -> tuple[str, ...]:
        """Write the row's cells, in the order of ``HEADER``."""
        costs, (height, width) = self.costs, self.shape
        return (
            f'[{self.path.stem}](../{self.path.as_posix()})',
            self.method,
            self.backbone,
            self.head,
            self.data,
            str(height) if height == width else f'{height} x {width}',
            NONE if costs is None else _pair(costs.encoder_parameters, costs.parameters, 1e6),
            NONE if costs is None else _pair(costs.encoder_multiply_adds, costs.multiply_adds, 1e9),
            published_cell(self.method, self.data),
        )


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
        shape=input_shape(cfg),
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
        shape = input_shape(cfg)
        model = deepcopy(cfg.model.to_dict())
        forget_checkpoints(model)
        key = json.dumps([shape, model], sort_keys=True, default=repr)
        if key not in self._known:
            self._known[key] = _count(cfg.model, shape)
        return self._known[key]


def render_matrix(rows: list[ConfigRow]) -> str:
    """Write rows as a Markdown table.

    Args:
        rows: The rows.

    Returns:
        The table, without a newline at its end.
    """
    lines = [HEADER, ('---',) * len(HEADER), *(row.cells() for row in rows)]
    return '\n'.join(f'| {" | ".join(cells)} |' for cells in lines)


def make_matrix(root: Path) -> str:
    """Read and count every config, which takes minutes.

    Args:
        root: The folder that holds ``configs``.

    Returns:
        The table.
    """
    counter, rows = CostCounter(), []
    for path in tqdm(leaf_configs(root), unit='config'):
        cfg = load_config(path)
        row = describe_config(cfg, path.relative_to(root))
        rows.append(replace(row, costs=counter.count(cfg)))
    return render_matrix(rows)


def write_matrix(root: Path, file: Path) -> None:
    """Put the table into a Markdown file.

    Args:
        root: The folder that holds ``configs``.
        file: Has the two comments that mark the table's place.

    Raises:
        SetupError: There is no such file, or the comments are not there, once and in order.
    """
    if not file.is_file():
        raise SetupError(f"'{file}' does not exist. Name the Markdown file that holds the table.")
    # Its marks are looked for before the minutes of counting, its text after them.
    replace_matrix(file.read_text(encoding='utf-8'), '', file)
    table = make_matrix(root)
    write_text(file, replace_matrix(file.read_text(encoding='utf-8'), table, file))


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

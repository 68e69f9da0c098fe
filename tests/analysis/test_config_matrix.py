"""The matrix of configs says what the configs say, and the docs have it."""

import functools
import re
from pathlib import Path

import pytest

from rs4d.analysis.config_matrix import (
    BEGIN,
    COST_COLUMNS,
    END,
    HEADER,
    PUBLISHED_AP,
    ConfigRow,
    add_costs,
    describe_config,
    published_cell,
    render_matrix,
    replace_matrix,
)
from rs4d.config import load_config
from rs4d.config.packages import leaf_configs
from rs4d.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'configs.md'
PATHS = [path.relative_to(ROOT) for path in leaf_configs(ROOT)]
DASH = '\N{EN DASH}'


def table(text: str) -> list[list[str]]:
    """The cells of a Markdown table, without its two header lines."""
    lines = [line for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines][2:]


@pytest.fixture(scope='module')
def documented() -> dict[str, list[str]]:
    text = PAGE.read_text(encoding='utf-8')
    return {cells[0]: cells for cells in table(text[text.index(BEGIN) : text.index(END)])}


@functools.cache
def row_of(path: Path) -> ConfigRow:
    return describe_config(load_config(ROOT / path), path)


def test_every_config_has_its_row_in_the_docs(documented: dict[str, list[str]]) -> None:
    rows = [row_of(path) for path in PATHS]
    assert list(documented) == [cells[0] for cells in rows]
    for cells in rows:
        for i, cell in enumerate(cells):
            if i not in COST_COLUMNS:
                assert documented[cells[0]][i] == cell, (HEADER[i], cells[0])
    costs = [documented[cells[0]][i] for cells in rows for i in COST_COLUMNS]
    assert all(re.fullmatch(rf'\d+\.\d / (\d+\.\d|{DASH})', cost) for cost in costs)


@pytest.mark.parametrize('name', ['rs4d-tiny_bbox_scenes', 'rs4d-tiny_efficientnet-lite0_scenes'])
def test_costs_in_the_docs_are_those_counted(name: str, documented: dict[str, list[str]]) -> None:
    path = Path(f'configs/demo/{name}.py')
    cfg = load_config(ROOT / path)
    cells = add_costs(describe_config(cfg, path), cfg, {})
    assert documented[cells[0]] == list(cells)


def test_names_of_configs_agree_with_their_content() -> None:
    heads = {'bbox': 'Mask R-CNN', 'cascade': 'Cascade Mask R-CNN', 'mask2former': 'Mask2Former'}
    heads |= {'solov2': 'SOLOv2', 'condinst': 'CondInst', 'rtmdet-ins': 'RTMDet-Ins'}
    for path in PATHS:
        row, (method, part, data) = row_of(path), path.stem.split('_')[:3]
        if path.parent.name == 'rs4d':
            assert row.head == heads.get(part, part), path
            size = method.removeprefix('rs4d-')
            stem = ' behind a stem' if part == 'light' else ''
            assert row.backbone == (
                f'RSMamba, 6 blocks of 192{stem}' if size.startswith('tiny') else f'RSMamba-{size}'
            )
        if path.parent.name == 'baselines':
            assert row.backbone == dict(r50='ResNet-50').get(part, 'SAM ViT-B'), path
        if path.parent.name in ('rs4d', 'baselines'):
            own = dict.fromkeys(('coco', 'rgbn'), 'YOUR OWN')
            assert row.data.upper() == own.get(data, data.upper()), path


def test_baselines_have_the_published_figures() -> None:
    cells = {path.stem: row_of(path)[-1] for path in PATHS}
    assert cells['mask-rcnn_r50_ssdd'] == '67.7 / 64.3'
    assert cells['mask2former_sam-vit-b_whu'] == '70.7 / 71.1'
    assert cells['rsprompter-anchor_sam-vit-b_nwpu'] == '70.3 / 66.1'
    assert cells['rsprompter-query_sam-vit-b_nwpu'] == '68.4 / 67.5'
    assert cells['mask2former_r50_nwpu'] == '57.4 / 58.8'
    assert cells['solov2_r50_ssdd'] == cells['rs4d-base_bbox_ssdd'] == DASH


def test_published_figures_of_the_readme() -> None:
    section = (
        (ROOT / 'README.md').read_text(encoding='utf-8').partition('## The figures to beat')[2]
    )
    shown = table(section.partition('\n## ')[0])
    datasets = ('WHU', 'NWPU', 'SSDD')
    assert shown == [
        [name, *(published_cell(name, data) for data in datasets)] for name in PUBLISHED_AP
    ]


def test_models_of_the_same_classes_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('rs4d.analysis.config_matrix._count', lambda *_: ('1', '2'))
    known: dict[str, tuple[str, str]] = {}
    for data in ('ssdd', 'whu', 'nwpu'):
        path = Path(f'configs/rs4d/rs4d-base_bbox_{data}.py')
        row = add_costs(row_of(path), load_config(ROOT / path), known)
        assert (row.parameters, row.multiply_adds) == ('1', '2')
    assert len(known) == 2


def test_a_type_that_is_not_known_shows_its_name() -> None:
    cfg = load_config(ROOT / 'configs/rs4d/rs4d-base_bbox_ssdd.py')
    cfg.model.update(type='MyDetector')
    cfg.model.backbone.type = 'PatchMixer'
    row = describe_config(cfg, Path('configs/mine.py'))
    assert (row.method, row.backbone, row.head) == ('MyDetector', 'PatchMixer', 'MyDetector')


def test_table_goes_between_the_marks_only() -> None:
    text = f'before\n{BEGIN}\nold\n{END}\nafter\n'
    new = replace_matrix(text, render_matrix([]), Path('a.md'))
    assert new.startswith(f'before\n{BEGIN}\n\n| config |')
    assert new.endswith(f'\n\n{END}\nafter\n')
    assert replace_matrix(new, render_matrix([]), Path('a.md')) == new
    for broken in ('', BEGIN, f'{END}{BEGIN}', text + text):
        with pytest.raises(ConfigError, match=r'a\.md'):
            replace_matrix(broken, '', Path('a.md'))


def test_folder_without_configs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no configs'):
        leaf_configs(tmp_path)

"""The code in docs/extend.md, run as it stands there."""

import re
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs

from rs4d.config import load_config

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/extend.md').read_text(), re.DOTALL)
MODULES = [block for block in BLOCKS if '_base_' not in block]
CONFIGS = [block for block in BLOCKS if '_base_' in block]
NAMES = ['PatchMixer', 'LightMaskHead', 'CosineSchedule']


@pytest.fixture(scope='module', autouse=True)
def _registered():
    """Run the module blocks, and leave the registry as it was."""
    for block in MODULES:
        exec(compile(block, 'docs/extend.md', 'exec'), {'__name__': 'extend'})
    yield
    for name in NAMES:
        MODELS.module_dict.pop(name)


def test_a_part_takes_under_forty_lines() -> None:
    assert len(MODULES) == len(CONFIGS) == len(NAMES)
    for block in MODULES:
        assert len(block.split('@MODELS')[1].splitlines()) < 40


@pytest.mark.parametrize(('text', 'name'), zip(CONFIGS[:2], NAMES[:2], strict=True), ids=NAMES[:2])
def test_a_step_of_training_and_a_prediction(text: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text(text.replace("'../_base_", f"'{ROOT.as_posix()}/configs/_base_"))
    cfg = load_config(path)
    assert name in str(cfg.model)
    # Smaller, and without a checkpoint.
    if cfg.model.backbone.type == 'RSMamba':
        cfg.model.backbone.update(
            arch=dict(embed_dims=256, num_layers=24, inner_dims=16), img_size=64, init_cfg=None
        )
    cfg.model.train_cfg.rpn_proposal.max_per_img = 20
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = demo_mm_inputs(2, [[3, 64, 64]] * 2, num_items=[3, 2], num_classes=2, with_mask=True)
    for sample in data['data_samples']:
        sample.gt_instances.labels.zero_()
    data = model.data_preprocessor(data, True)
    new = [p for key, p in model.named_parameters() if 'backbone' in key or 'light' in key]
    before = [p.detach().clone() for p in new]
    loss, _ = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert new
    assert all(not torch.equal(x, y) for x, y in zip(new, before, strict=True))
    with torch.no_grad():
        (first, _) = model.eval()(**data, mode='predict')
    assert tuple(first.pred_instances.masks.shape[1:]) == tuple(first.ori_shape)


def test_a_schedule_of_corruption(tmp_path: Path) -> None:
    path = tmp_path / 'config.py'
    path.write_text(CONFIGS[2].replace("'../distill", f"'{ROOT.as_posix()}/configs/distill"))
    corruption = MODELS.build(load_config(path).model.corruption)
    found = [float(corruption.mask_ratio)]
    for updates in (10000, 20000, 30000):
        corruption.schedule.num_updates.fill_(updates - 1)
        corruption.schedule.update(torch.tensor(0.5))
        found.append(float(corruption.mask_ratio))
    assert found == pytest.approx([0, 0.1, 0.2, 0.2])

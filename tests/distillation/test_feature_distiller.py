"""The distiller: what trains, what is saved, what the teacher sees, and how a run resumes."""

import copy
from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from rs4d.checkpoints import CheckpointNotFoundError
from rs4d.distillation import FeatureDistiller
from rs4d.errors import UserError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
STUDENT = dict(
    type='RSMamba', arch=dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4), img_size=64
)


@MODELS.register_module(force=True)
class PatchTeacher(BaseModule):
    """A random convolution with a batch norm and a dropout, which must stay as they are."""

    def __init__(self, embed_dims: int = 16, stride: int = 16) -> None:
        super().__init__()
        self.embed_dims = embed_dims
        self.layers = nn.Sequential(
            nn.Conv2d(3, embed_dims, stride, stride), nn.BatchNorm2d(embed_dims), nn.Dropout(0.5)
        )
        self.seen: list[Tensor] = []

    def forward(self, img: Tensor) -> tuple[Tensor]:
        self.seen.append(img)
        return (self.layers(img),)


def build(**kwargs: object) -> FeatureDistiller:
    torch.manual_seed(0)
    cfg = dict(
        type='FeatureDistiller',
        student=STUDENT,
        teacher=dict(type='PatchTeacher'),
        corruption=dict(type='NoiseAndMask', schedule=dict(type='FixedSchedule')),
        data_preprocessor=dict(type='DetDataPreprocessor', mean=MEAN, std=STD, bgr_to_rgb=True),
    )
    model = MODELS.build(cfg | kwargs)
    model.init_weights()
    return model.train()


def sample(height: int, width: int) -> BaseDataElement:
    return BaseDataElement(metainfo=dict(img_shape=(height, width)))


def loss(model: FeatureDistiller, img: Tensor) -> Tensor:
    return model.parse_losses(model(img, mode='loss'))[0]


def test_the_teacher_is_not_part_of_the_model() -> None:
    model = build()
    encoder = model.teacher.encoder
    before = copy.deepcopy(encoder.state_dict())
    keys = {key.split('.')[0] for key in model.state_dict()}
    assert keys == {'student', 'corruption'}
    assert not {id(p) for p in model.parameters()} & {id(p) for p in encoder.parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    for _ in range(2):
        loss(model, torch.randn(2, 3, 64, 64)).backward()
        optimizer.step()
    assert not encoder.training
    assert all(p.grad is None and not p.requires_grad for p in encoder.parameters())
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    assert copy.deepcopy(model).teacher.encoder is encoder


@pytest.mark.parametrize(
    ('embed_dims', 'stride', 'adapted'),
    [(16, 16, False), (24, 16, True), (24, 8, True), (16, 32, False)],
)
def test_every_student_parameter_has_a_gradient(
    embed_dims: int, stride: int, adapted: bool
) -> None:
    model = build(teacher=dict(type='PatchTeacher', embed_dims=embed_dims, stride=stride))
    assert isinstance(model.adapter, nn.Conv2d) == adapted
    loss(model, torch.randn(2, 3, 64, 96)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_finer_student_is_averaged_not_sampled() -> None:
    model = build(teacher=dict(type='PatchTeacher', stride=64))
    features = torch.randn(1, 16, 8, 8, requires_grad=True)
    model.student.forward = lambda img: (features,)
    loss(model, torch.randn(1, 3, 128, 128)).backward()
    assert (features.grad.abs().sum(1) > 0).all()


def test_the_student_sees_corruption_and_the_teacher_the_clean_image() -> None:
    model = build(teacher_mean=[127.0] * 3, teacher_std=[128.0] * 3)
    raw = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=list(raw), data_samples=None), True)['inputs']
    seen = []
    model.student.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(inputs, mode='loss')
    rgb = raw.flip(1).float()
    torch.testing.assert_close(model.teacher.encoder.seen[-1], (rgb - 127) / 128)
    patches = seen[0].unfold(2, 16, 16).unfold(3, 16, 16)
    assert [int((p == 0).sum()) for p in patches.abs().sum((1, 4, 5))] == [3, 3]  # 20 % of 16
    assert (seen[0] != inputs).float().mean() > 0.99


def test_padding_neither_trains_nor_counts() -> None:
    model = build(corruption=dict(type='NoiseAndMask', noise_ratio=0.0, mask_ratio=0.0))
    model.eval()
    img = torch.randn(2, 3, 64, 64)
    img[1, :, 20:] = 0
    samples = [sample(64, 64), sample(20, 64)]
    target = model.teacher.maps(img)['embedding']
    out = model.student(img)[0]
    # Rows 0 and 1 of the second image's cells have image in them.
    parts = [(out[0], target[0]), (out[1, :, :2], target[1, :, :2])]
    difference = sum((o - t).abs().sum() for o, t in parts) / sum(o.numel() for o, _ in parts)
    errors = [(o - t).abs().sum() / t.abs().sum() for o, t in parts]
    losses = model(img, samples, mode='loss')
    torch.testing.assert_close(losses['loss_embedding'], difference)
    torch.testing.assert_close(losses['error'], sum(errors) / 2)
    predictions = model(img, samples, mode='predict')
    torch.testing.assert_close(
        torch.stack([p.normalised_l1 for p in predictions]), torch.stack(errors)
    )
    assert predictions[1].img_shape == (20, 64)
    assert sum(p.numel() for p in (predictions[0].normalised_l1, predictions[0].cosine)) == 2


def test_only_training_moves_the_controller_and_the_log_is_complete() -> None:
    model = build()
    img = torch.randn(1, 3, 64, 64)
    model(img, mode='predict')
    model.eval()(img, mode='loss')
    assert int(model.corruption.schedule.num_updates) == 0
    total, log = model.train().parse_losses(model(img, mode='loss'))
    assert int(model.corruption.schedule.num_updates) == 1
    assert set(log) == {'loss', 'loss_embedding', 'error', 'noise_ratio', 'mask_ratio'}
    assert total.item() == log['loss'].item() == log['loss_embedding'].item()
    assert float(log['noise_ratio']) == pytest.approx(0.2)


def test_student_learns_and_corruption_follows() -> None:
    model = build(
        corruption=dict(
            type='NoiseAndMask',
            schedule=dict(type='AdaptiveSchedule', warmup_iters=5, momentum=0.2, target_error=0.3),
        )
    )
    img = torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    log = []
    for _ in range(40):
        losses = model(img, mode='loss')
        losses['loss_embedding'].backward()
        optimizer.step()
        optimizer.zero_grad()
        log.append(losses)
    assert log[-1]['error'] < 0.8 * log[0]['error']
    assert float(log[3]['mask_ratio']) == 0 < float(log[-1]['mask_ratio'])


@DATASETS.register_module(force=True)
class RandomImages(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        img = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=generator)
        return dict(inputs=img, data_samples=sample(64, 48))


def runner_config(work_dir: Path, epochs: int, **kwargs: object) -> Config:
    loader = dict(batch_size=2, num_workers=0, dataset=dict(type='RandomImages'))
    loader['collate_fn'] = dict(type='pseudo_collate')
    train = loader | dict(sampler=dict(type='DefaultSampler', shuffle=False))
    cfg = dict(
        default_scope='mmdet',
        work_dir=str(work_dir),
        model=dict(
            type='FeatureDistiller',
            student=STUDENT,
            teacher=dict(type='PatchTeacher', embed_dims=8),
            corruption=dict(
                type='NoiseAndMask',
                schedule=dict(type='AdaptiveSchedule', warmup_iters=2, target_error=0.1),
            ),
            data_preprocessor=dict(type='DetDataPreprocessor', mean=MEAN, std=STD),
        ),
        train_dataloader=train,
        val_dataloader=train,
        val_evaluator=dict(type='FeatureAgreement'),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.5)),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='ResumableCheckpointHook'),
        ),
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}{epochs}',
    )
    return Config(cfg | kwargs)


def test_a_resumed_run_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The noise is not part of a checkpoint; without it, two runs can be compared to the digit.
    monkeypatch.setattr(torch, 'randn_like', torch.zeros_like)
    monkeypatch.setattr(torch, 'rand', lambda shape, **kwargs: torch.zeros(shape))
    # The teacher is random here, and built first.
    whole = Runner.from_cfg(runner_config(tmp_path / 'whole', 4))
    teacher = whole.model.teacher
    whole.train()
    first = Runner.from_cfg(runner_config(tmp_path / 'parts', 2))
    first.model.teacher = teacher
    first.train()
    second = Runner.from_cfg(runner_config(tmp_path / 'parts', 4, resume=True))
    second.model.teacher = teacher
    second.train()
    assert second.iter == 8
    assert int(second.model.corruption.schedule.num_updates) == 8
    state = second.model.state_dict()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)
    checkpoint = CheckpointLoader.load_checkpoint(str(tmp_path / 'parts' / 'latest.pth'))
    assert {key.split('.')[0] for key in checkpoint['state_dict']} == {
        'student',
        'corruption',
        'adapter',
    }
    log = next((tmp_path / 'whole').rglob('scalars.json')).read_text()
    for key in ('"error"', '"noise_ratio"', '"mask_ratio"', '"agreement/normalised_l1"'):
        assert key in log


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_a_teacher_in_half_precision(dtype: str) -> None:
    full, half = build(), build(teacher_dtype=dtype)
    assert {p.dtype for p in half.teacher.encoder.parameters()} == {getattr(torch, dtype)}
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    img = torch.randn(2, 3, 64, 64)
    values = []
    for model in (full, half):
        values.append(model.teacher.maps(img)['embedding'].float())
    assert half.teacher.encoder.seen[-1].dtype == getattr(torch, dtype)
    torch.testing.assert_close(values[1], values[0], rtol=0, atol=0.02)
    assert model(img, mode='loss')['loss_embedding'].dtype == torch.float32


def test_an_unknown_precision() -> None:
    with pytest.raises(UserError, match=r'float8.*float32, float16, bfloat16'):
        build(teacher_dtype='float8')


def test_a_missing_teacher_shows_before_training() -> None:
    with pytest.raises(CheckpointNotFoundError, match=r'nowhere\.pth'):
        build(teacher=dict(type='SAMViT', checkpoint='nowhere.pth'))


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(teacher_mean=[127.0] * 3),
        dict(teacher_mean=[1.0] * 3, teacher_std=[1.0] * 3, data_preprocessor=None),
    ],
)
def test_half_a_normalisation(kwargs: dict) -> None:
    with pytest.raises(UserError, match='teacher_mean and teacher_std go together'):
        build(**kwargs)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="'train'"):
        build()(torch.zeros(1, 3, 64, 64), mode='train')

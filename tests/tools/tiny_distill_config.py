# A whole distillation in seconds, with noise and masks from the third step on.
_base_ = [
    '../../configs/_base_/datasets/scenes_distill.py',
    '../../configs/_base_/schedules/distill_cpu.py',
    '../../configs/_base_/default_runtime.py',
]

data_root = '{{$RS4D_TINY_ROOT:scenes}}/'
image_size = 64
arch = dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4, dt_rank=2)
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip'),
    ),
]
model = dict(
    type='FeatureDistiller',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    student=dict(type='RSMamba', arch=arch, img_size=image_size),
    teacher=dict(type='RSMamba', arch=arch, img_size=image_size),
    corruption=dict(
        type='NoiseAndMask',
        schedule=dict(type='AdaptiveSchedule', warmup_iters=2, momentum=0.5, target_error=0.9),
    ),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=pipeline),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=pipeline),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=3, val_interval=2)

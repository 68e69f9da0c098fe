# RSMamba follows the embedding of SAM, whose size one of _base_/sam says; noise and mask at 20 % each
# at most. ViT-B stays in float32, 360 MB: CPUs, on which this config is run as well, may take four
# times as long in float16. On GPUs, teacher_dtype='float16' halves it, as for ViT-L and ViT-H.
model = dict(
    type='FeatureDistiller',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=16,
    ),
    student=dict(type='RSMamba', arch='base', img_size=('${image_size.1}', '${image_size.0}')),
    teacher=dict(
        type='SAMViT',
        arch='${sam_arch}',
        checkpoint='${sam_checkpoint}',
    ),
    corruption=dict(
        type='NoiseAndMask',
        noise_ratio=0.2,
        mask_ratio=0.2,
        schedule=dict(type='AdaptiveSchedule'),
    ),
    losses=dict(
        loss_embedding=dict(type='EmbeddingMatch', loss=dict(type='FeatureLoss', kind='l1')),
    ),
)

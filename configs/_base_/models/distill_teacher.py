# RSMamba follows an encoder of today; which one, the files beside this say (docs/teachers.md). Its
# channels are standardised, and cosine and smooth L1 are weighed as in AM-RADIO (arXiv 2312.06709).
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
    teacher_dtype='bfloat16',
    target_norm=dict(type='ChannelStandardisation'),
    corruption=dict(type='NoiseAndMask', schedule=dict(type='AdaptiveSchedule')),
    losses=dict(
        loss_cosine=dict(
            type='EmbeddingMatch', loss=dict(type='FeatureLoss', kind='cosine', loss_weight=0.9)
        ),
        loss_smooth_l1=dict(
            type='EmbeddingMatch', loss=dict(type='FeatureLoss', kind='smooth_l1', loss_weight=0.1)
        ),
    ),
)

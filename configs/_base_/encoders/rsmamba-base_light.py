# RSMamba-base, distilled in stage 1, and a narrow neck for the light detector.
_base_ = './rsmamba-base.py'

neck = [
    dict(
        type='RSFeatureAggregator',
        in_channels='${embed_dims}',
        num_inputs='${num_maps}',
        hidden_channels=32,
        out_channels=128,
        norm_cfg=dict(type='LN2d'),
    ),
    dict(
        type='LightFPN',
        in_channels=128,
        in_strides='${model.backbone.patch_size}',
        out_channels='${width}',
        out_strides='${pyramid_strides}',
    ),
]

# RSMamba-base, distilled in stage 1, and a narrow neck for the light detector.
_base_ = './rsmamba-base.py'

neck = [
    dict(_base_.neck[0], out_channels=128),
    dict(
        type='LightFPN',
        in_channels=128,
        in_strides='${model.backbone.patch_size}',
        out_channels='${width}',
        out_strides='${pyramid_strides}',
    ),
]

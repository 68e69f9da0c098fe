# RSMamba-base, distilled in stage 1, under Mask2Former.
_base_ = ['./mask2former_r50.py', './encoder_rsmamba-base.py']

model = dict(
    backbone={{_base_.encoder}},
    neck=[
        {{_base_.aggregator}},
        # Strides 4 to 32; the head takes no more.
        dict(
            type='SimpleFPN',
            in_channels=256,
            out_channels=256,
            out_strides=(4, 8, 16, 32),
            norm_cfg=dict(type='LN2d'),
        ),
    ],
    panoptic_head=dict(in_channels=[256] * 4),
)

# RSMamba-base, distilled in stage 1, under RTMDet-Ins.
_base_ = ['./rtmdet-ins_r50.py', './encoder_rsmamba-base.py']

model = dict(
    backbone={{_base_.encoder}},
    neck=[
        {{_base_.aggregator}},
        dict(
            type='SimpleFPN',
            in_channels=256,
            out_channels=256,
            out_strides=(8, 16, 32, 64),
            norm_cfg=dict(type='LN2d'),
        ),
    ],
    bbox_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64])),
)

# RSMamba-base, distilled in stage 1, under RTMDet-Ins.
_base_ = ['./rtmdet-ins_r50.py', './encoder_rsmamba-base.py']

model = dict(
    backbone={{_base_.encoder}},
    neck=[
        {{_base_.aggregator}},
        # The head begins at stride 8. SimpleFPN begins at half of the stride it is told, so that
        # half of the encoder's 16 gives strides 8 to 64 and no level that nothing would train.
        dict(
            type='SimpleFPN',
            in_channels=256,
            out_channels=256,
            num_outs=4,
            in_stride=8,
            norm_cfg=dict(type='LN2d'),
        ),
    ],
    bbox_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64])),
)

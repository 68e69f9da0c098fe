# Real NWPU VHR-10 on two CPU cores, with the encoder that stage 1 distilled.
_base_ = './rs4d-tiny-scratch_bbox_nwpu.py'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/rs4d-tiny_efficientnet-lite0_mixed/latest.pth',
            prefix='student.',
        ),
    ),
)

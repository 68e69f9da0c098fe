# Real NWPU VHR-10 on two CPU cores, with the encoder that stage 1 distilled.
_base_ = [
    '../_base_/models/query_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/nwpu.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

num_queries = 70
init_cfg = dict(
    type='Pretrained',
    checkpoint='work_dirs/rs4d-tiny_efficientnet-lite0_mixed/latest.pth',
    prefix='student.',
)
model = dict(backbone=dict(_base_.encoder, init_cfg=init_cfg), neck=_base_.neck)

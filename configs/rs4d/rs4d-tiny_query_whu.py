# Real WHU buildings on two CPU cores, from random weights.
_base_ = [
    '../_base_/models/query_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/whu.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(backbone=_base_.encoder, neck=_base_.neck)

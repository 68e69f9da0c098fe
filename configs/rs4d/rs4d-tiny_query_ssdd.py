# Real SSDD on two CPU cores in under an hour, from random weights.
_base_ = [
    '../_base_/models/query_small.py',
    '../_base_/encoders/rsmamba-tiny.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/ssdd.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

num_queries = 30
model = dict(backbone=_base_.encoder, neck=_base_.neck)

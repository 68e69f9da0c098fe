_base_ = [
    '../_base_/models/query.py',
    '../_base_/encoders/rsmamba-base.py',
    '../_base_/sam/vit-b.py',
    '../_base_/datasets/coco_1024.py',
    '../_base_/datasets/nwpu.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

num_queries = 70
model = dict(backbone=_base_.encoder, neck=_base_.neck)

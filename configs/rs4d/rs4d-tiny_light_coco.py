# A COCO set of your own on two CPU cores, from random weights:
# rs4d train rs4d::rs4d/rs4d-tiny_light_coco.py --data DIR --train A.json --val B.json
_base_ = [
    '../_base_/models/light.py',
    '../_base_/encoders/rsmamba-tiny_stem.py',
    '../_base_/datasets/coco_256.py',
    '../_base_/datasets/coco.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

train_batch_size = lr_batch_size = 8
skip_empty = False
max_epochs = 36
lr = 8e-4
model = dict(backbone=_base_.encoder, neck=_base_.neck)

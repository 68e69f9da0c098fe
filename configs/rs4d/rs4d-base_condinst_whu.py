_base_ = [
    '../_base_/models/condinst_rsmamba-base.py',
    '../_base_/datasets/whu_instance.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

model = dict(bbox_head=dict(num_classes=1))

_base_ = [
    '../_base_/models/rtmdet-ins_rsmamba-base.py',
    '../_base_/datasets/whu_instance.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

model = dict(bbox_head=dict(num_classes=1))
# The levels share convolutions, which the optimizer should hold once.
optim_wrapper = dict(paramwise_cfg=dict(bypass_duplicate=True))

# Real SSDD on two CPU cores, from random weights.
_base_ = [
    '../_base_/models/prompt_rsmamba-tiny.py',
    '../_base_/datasets/ssdd_instance_small.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))

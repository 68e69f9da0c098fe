# Real SSDD on two CPU cores in under an hour, from random weights.
_base_ = [
    '../_base_/models/mask-rcnn_rsmamba-tiny.py',
    '../_base_/datasets/ssdd_instance_small.py',
    '../_base_/schedules/finetune_cpu.py',
    '../_base_/default_runtime.py',
]

num_classes = 1
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=num_classes),
        mask_head=dict(num_classes=num_classes),
    ),
)

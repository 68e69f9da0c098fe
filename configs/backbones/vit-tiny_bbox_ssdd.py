_base_ = [
    '../_base_/models/mask-rcnn_vit-tiny.py',
    '../_base_/datasets/ssdd_instance.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

num_classes = 1
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=num_classes),
        mask_head=dict(num_classes=num_classes),
    )
)

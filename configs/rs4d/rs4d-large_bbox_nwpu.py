_base_ = [
    '../_base_/models/mask-rcnn_rsmamba-large.py',
    '../_base_/datasets/nwpu_instance.py',
    '../_base_/schedules/finetune_1600e.py',
    '../_base_/default_runtime.py',
]

num_classes = 10
model = dict(
    roi_head=dict(
        bbox_head=dict(num_classes=num_classes),
        mask_head=dict(num_classes=num_classes),
    )
)

_base_ = [
    '../_base_/models/mask2former_sam-vit-b.py',
    '../_base_/datasets/nwpu_instance.py',
    '../_base_/schedules/finetune_1600e.py',
    '../_base_/default_runtime.py',
]

num_classes = 10
model = dict(
    panoptic_head=dict(
        num_things_classes=num_classes,
        loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
    ),
    panoptic_fusion_head=dict(num_things_classes=num_classes),
)

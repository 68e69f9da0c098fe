_base_ = [
    '../_base_/models/cascade-mask-rcnn_rsmamba-base.py',
    '../_base_/models/cascade-heads_1-class.py',
    '../_base_/datasets/whu_instance.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    roi_head=dict(
        bbox_head={{_base_.cascade_heads}},
        mask_head=dict(num_classes={{_base_.num_classes}}),
    )
)

_base_ = [
    '../_base_/models/cascade-mask-rcnn_rsmamba-base.py',
    '../_base_/models/cascade-heads_10-classes.py',
    '../_base_/datasets/nwpu_instance.py',
    '../_base_/schedules/finetune_1600e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    roi_head=dict(
        bbox_head={{_base_.cascade_heads}},
        mask_head=dict(num_classes={{_base_.num_classes}}),
    )
)

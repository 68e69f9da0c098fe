_base_ = [
    '../_base_/models/prompt_swin-t.py',
    '../_base_/datasets/ssdd_instance.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

model = dict(roi_head=dict(bbox_head=dict(num_classes=1)))

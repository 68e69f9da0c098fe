_base_ = [
    '../_base_/models/solov2_rsmamba-base.py',
    '../_base_/datasets/nwpu_instance.py',
    '../_base_/schedules/finetune_1600e.py',
    '../_base_/default_runtime.py',
]

model = dict(mask_head=dict(num_classes=10))

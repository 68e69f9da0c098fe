_base_ = [
    '../_base_/models/mask2former.py',
    '../_base_/datasets/coco_1024.py',
    '../_base_/datasets/nwpu.py',
    '../_base_/schedules/finetune_1600e.py',
    '../_base_/default_runtime.py',
]

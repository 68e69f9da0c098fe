_base_ = [
    '../_base_/models/distill_sam.py',
    '../_base_/sam/vit-l.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(student=dict(arch='large'), teacher_dtype='float16')

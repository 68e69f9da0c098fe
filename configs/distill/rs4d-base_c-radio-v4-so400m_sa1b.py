# C-RADIOv4 has learned from SAM 3, DINOv3 and SigLIP 2 at once.
_base_ = [
    '../_base_/models/distill_c-radio-v4-so400m.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

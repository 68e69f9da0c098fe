# SAM 2.1's embedding in place of SAM's.
_base_ = [
    '../_base_/models/distill_sam2-hiera-l.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

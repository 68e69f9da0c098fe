# SAM 3's embedding in place of SAM's. 1008 pixels are 72 of its patches and 63 of the student's, whose
# map is resampled to its.
_base_ = [
    '../_base_/models/distill_sam3.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

image_size = 1008

# The teacher's embeddings come from disk. They are made once, by
# python tools/cache_teacher.py configs/distill/rs4d-base_sam-vit-b_sa1b_cached.py
_base_ = [
    '../_base_/models/distill_sam.py',
    '../_base_/sam/vit-b.py',
    '../_base_/datasets/sa1b_distill_cached.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(teacher_cache='${cache_dir}')

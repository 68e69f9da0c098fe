# The teacher's embeddings come from disk. They are made once, by
# rs4d cache-teacher configs/distill/rs4d-base_c-radio-v4-so400m_sa1b_cached.py
_base_ = [
    '../_base_/models/distill_c-radio-v4-so400m.py',
    '../_base_/datasets/sa1b_distill_cached.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

sam_name = 'c-radio-v4-so400m'
model = dict(teacher_cache='${cache_dir}')

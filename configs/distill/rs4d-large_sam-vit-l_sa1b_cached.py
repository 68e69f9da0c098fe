# python tools/cache_teacher.py configs/distill/rs4d-large_sam-vit-l_sa1b_cached.py
_base_ = './rs4d-base_sam-vit-b_sa1b_cached.py'

cache_dir = '{{$RS4D_CACHE_ROOT:work_dirs/teacher_cache}}/sam-vit-l_sa1b'
model = dict(
    student=dict(arch='large'),
    teacher=dict(
        arch='large',
        checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_l_0b3195.pth',
    ),
    teacher_cache=cache_dir,
)
# The same pixels as of the other sizes; only the embeddings beside them are of another teacher.
load_embedding, *packing = _base_.distill_pipeline
distill_pipeline = [dict(load_embedding, cache_dir=cache_dir), *packing]
train_dataloader = dict(dataset=dict(pipeline=distill_pipeline))
val_dataloader = dict(dataset=dict(pipeline=distill_pipeline))
test_dataloader = val_dataloader

# SA-1B with embeddings of the teacher that tools/cache_teacher.py has written.
_base_ = './sa1b_distill.py'

cache_dir = '{{$RS4D_CACHE_ROOT:work_dirs/teacher_cache}}/sam-vit-b_sa1b'
image_size = 1024
data_root = '{{$RS4D_DATA_ROOT:data}}/SA1B/'
pad_val = dict(img=(104, 116, 124), masks=0)
distill_pipeline = [
    dict(
        type='LoadTeacherEmbedding',
        cache_dir=cache_dir,
        data_root=data_root,
        transforms=[
            dict(type='LoadReducedImage', scale=(image_size, image_size)),
            dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
            dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
        ],
    ),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=distill_pipeline))
val_dataloader = dict(dataset=dict(pipeline=distill_pipeline))

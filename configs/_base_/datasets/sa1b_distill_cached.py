# SA-1B with embeddings of the teacher that tools/cache_teacher.py has written; the pixels are those of
# sa1b_distill.py.
_base_ = './images_distill.py'

dataset_type = 'SA1BDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/SA1B/'
cache_dir = '{{$RS4D_CACHE_ROOT:work_dirs/teacher_cache}}/${sam_name}_sa1b'
image_size = 1024
train_batch_size = lr_batch_size = 4
num_workers = 4
train_pipeline = [
    dict(
        type='LoadTeacherEmbedding',
        cache_dir='${cache_dir}',
        data_root='${data_root}',
        transforms=[
            dict(type='LoadReducedImage', scale='${image_size}'),
            dict(type='Resize', scale='${image_size}', keep_ratio=True),
            dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
        ],
    ),
    dict(type='PackDistillInputs'),
]
test_pipeline = '${train_pipeline}'

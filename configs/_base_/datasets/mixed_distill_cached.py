# The images of mixed_distill.py whole, with embeddings that rs4d cache-teacher has written.
_base_ = './images_distill.py'

data_root = '{{$RS4D_DATA_ROOT:data}}/'
cache_dir = '{{$RS4D_CACHE_ROOT:work_dirs/teacher_cache}}/efficientnet-lite0_mixed'
train_pipeline = [
    dict(
        type='LoadTeacherEmbedding',
        cache_dir='${cache_dir}',
        data_root='${data_root}',
        transforms=[
            '${load_image}',
            dict(type='Resize', scale='${image_size}', keep_ratio=True),
            dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
        ],
    ),
    dict(type='PackDistillInputs'),
]
test_pipeline = '${train_pipeline}'
ssdd = dict(
    type='SSDDInsSegDataset',
    data_root='${data_root}SSDD/',
    ann_file='annotations/SSDD_instances_train.json',
    data_prefix=dict(img='imgs/'),
    pipeline='${train_pipeline}',
)
nwpu = dict(
    type='NWPUInsSegDataset',
    data_root='${data_root}NWPU/',
    ann_file='annotations/NWPU_instances_train.json',
    data_prefix=dict(img='imgs/'),
    pipeline='${train_pipeline}',
)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(type='SA1BDataset', data_root='${data_root}SA1B/', pipeline='${train_pipeline}'),
            ssdd,
            nwpu,
        ],
    ),
)
val_dataset = dict(
    nwpu,
    _delete_=True,
    ann_file='annotations/NWPU_instances_val.json',
    test_mode=True,
)
val_dataloader = dict(dataset=dict(val_dataset))
test_dataloader = dict(dataset=dict(val_dataset))

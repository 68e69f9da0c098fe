# Every real image at hand, as unlabelled ones: SA-1B, and the training images of SSDD and NWPU.
# Crops at several scales; agreement is measured on whole NWPU val images.
data_root = '{{$RS4D_DATA_ROOT:data}}/'
image_size = 256
train_batch_size = 8
num_workers = 1
# RGB mean of ImageNet in the BGR order of the loaded image: padding is zero once normalised.
pad_val = dict(img=(104, 116, 124), masks=0)

train_pipeline = [
    dict(type='LoadReducedImage'),  # in full, also from SA-1B's tars
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(
        type='RandomResize',
        scale=(image_size, image_size),
        ratio_range=(0.8, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size=(image_size, image_size), crop_type='absolute'),
    dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size=train_batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(type='SA1BDataset', data_root=data_root + 'SA1B/', pipeline=train_pipeline),
            dict(
                type='SSDDInsSegDataset',
                data_root=data_root + 'SSDD/',
                ann_file='annotations/SSDD_instances_train.json',
                data_prefix=dict(img='imgs/'),
                pipeline=train_pipeline,
            ),
            dict(
                type='NWPUInsSegDataset',
                data_root=data_root + 'NWPU/',
                ann_file='annotations/NWPU_instances_train.json',
                data_prefix=dict(img='imgs/'),
                pipeline=train_pipeline,
            ),
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='NWPUInsSegDataset',
        data_root=data_root + 'NWPU/',
        ann_file='annotations/NWPU_instances_val.json',
        data_prefix=dict(img='imgs/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

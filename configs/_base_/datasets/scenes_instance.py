# Generated scenes, evaluated on scenes that are held out.
# python tools/dataset_converters/generate_scenes.py work_dirs/demo/scenes
dataset_type = 'ScenesInsSegDataset'
data_root = 'work_dirs/demo/scenes/'
image_size = 128  # half of the size that they are drawn at: a CPU has to keep up
train_batch_size = 8
num_workers = 1
# RGB mean of ImageNet in the BGR order of the loaded image: padding is zero once normalised.
pad_val = dict(img=(104, 116, 124), masks=0)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
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
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/scenes_train.json',
        data_prefix=dict(img='imgs/'),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/scenes_val.json',
        data_prefix=dict(img='imgs/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(
    type='InstanceMetric',
    ann_file=data_root + 'annotations/scenes_val.json',
    metric=['bbox', 'segm'],
    format_only=False,
)
test_evaluator = val_evaluator

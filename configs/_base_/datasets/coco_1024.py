# COCO instance segmentation at 1024x1024 with large-scale jitter. Which data: a file such as ssdd.py
# beside this one, or the same settings in a config of your own, with its classes in metainfo.
image_size = 1024  # a number, or width and height
num_classes = None  # as many as the training's data set has
metainfo = dict()  # dict(classes=('ship', 'plane')) where the data set's own are not meant
num_workers = 4
load_image = dict(type='LoadImage')  # rasters by LoadRaster: docs/rasters.md
flip = dict(type='RandomFlip', prob=0.5)
skip_empty = True  # images without objects are not trained on
scale_range = (0.1, 2.0)  # of the input size, then a crop of at most the input size
# RGB mean of ImageNet in the BGR order of the loaded image: padding is zero once normalised.
pad_val = dict(img=(104, 116, 124), masks=0)

train_pipeline = [
    '${load_image}',
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    '${flip}',
    dict(
        type='RandomResize',
        scale='${image_size}',
        ratio_range='${scale_range}',
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(
        type='CropKeepingBoxes',
        crop_size='${image_size}',
        crop_type='absolute',
        allow_negative_crop=True,
    ),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    '${load_image}',
    dict(type='Resize', scale='${image_size}', keep_ratio=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]

train_dataloader = dict(
    batch_size='${train_batch_size}',
    num_workers='${num_workers}',
    persistent_workers='${train_dataloader.num_workers}',  # if there are any
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='${dataset_type}',
        data_root='${data_root}',
        ann_file='${train_annotations}',
        data_prefix=dict(img='${train_images}'),
        metainfo='${metainfo}',
        filter_cfg=dict(filter_empty_gt='${skip_empty}', min_size=32),
        pipeline='${train_pipeline}',
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers='${num_workers}',
    persistent_workers='${val_dataloader.num_workers}',
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='${dataset_type}',
        data_root='${data_root}',
        ann_file='${val_annotations}',
        data_prefix=dict(img='${val_images}'),
        metainfo='${metainfo}',
        test_mode=True,
        pipeline='${test_pipeline}',
    ),
)
test_dataloader = dict(val_dataloader, persistent_workers='${test_dataloader.num_workers}')
val_evaluator = dict(
    type='InstanceMetric',
    ann_file='${data_root}${val_annotations}',
    metric=['bbox', 'segm'],
    format_only=False,
)
test_evaluator = val_evaluator

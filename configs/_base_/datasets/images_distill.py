# Any images without labels, at a size for CPUs: folders of files, or of SA-1B's shards, of which a few
# images are held out. data_root is one folder or a list. Crops at several scales.
# val_evaluator comes with the distiller's schedule.
dataset_type = 'ImageFolders'
data_root = '{{$RS4D_DATA_ROOT:data}}/images/'
image_size = 256
train_batch_size = lr_batch_size = 8
num_workers = 1
load_image = dict(type='LoadImage')  # in full, also from SA-1B's tars; rasters: docs/rasters.md
# RGB mean of ImageNet in the BGR order of the loaded image: padding is zero once normalised.
pad_val = dict(img=(104, 116, 124), masks=0)

train_pipeline = [
    '${load_image}',
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(
        type='RandomResize',
        scale='${image_size}',
        ratio_range=(0.8, 2.0),
        resize_type='Resize',
        keep_ratio=True,
    ),
    dict(type='RandomCrop', crop_size='${image_size}', crop_type='absolute'),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    '${load_image}',
    dict(type='Resize', scale='${image_size}', keep_ratio=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
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
        split='train',
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
        split='val',
        test_mode=True,
        pipeline='${test_pipeline}',
    ),
)
test_dataloader = dict(val_dataloader, persistent_workers='${test_dataloader.num_workers}')

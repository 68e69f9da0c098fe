# SA-1B without labels: a folder of shards, extracted or not, of which a few images are held out.
# val_evaluator comes with the distiller. For other images, set data_root (one folder or a list).
dataset_type = 'SA1BDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/SA1B/'
image_size = 1024
train_batch_size = 4
num_workers = 4
# RGB mean of ImageNet in the BGR order of the loaded image: padding is zero once normalised.
pad_val = dict(img=(104, 116, 124), masks=0)

# The longer side becomes image_size and the rest is padded, as SAM was trained.
distill_pipeline = [
    dict(type='LoadReducedImage', scale=(image_size, image_size)),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='PadKeepingShape', size=(image_size, image_size), pad_val=pad_val),
    dict(type='PackDistillInputs'),
]

train_dataloader = dict(
    batch_size=train_batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        split='train',
        pipeline=distill_pipeline,
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
        split='val',
        test_mode=True,
        pipeline=distill_pipeline,
    ),
)

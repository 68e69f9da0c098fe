# Generated scenes without their labels; agreement is measured on held-out ones.
# python tools/dataset_converters/generate_scenes.py work_dirs/demo/scenes
_base_ = './images_distill.py'

data_root = 'work_dirs/demo/scenes/'
image_size = 128  # half of the size that they are drawn at: a CPU has to keep up
train_pipeline = [
    '${load_image}',
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='Resize', scale='${image_size}', keep_ratio=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ScenesInsSegDataset',
        data_root='${data_root}',
        ann_file='annotations/scenes_train.json',
        data_prefix=dict(img='imgs/'),
        pipeline='${train_pipeline}',
    ),
)
val_dataset = dict(
    _delete_=True,
    type='ScenesInsSegDataset',
    data_root='${data_root}',
    ann_file='annotations/scenes_val.json',
    data_prefix=dict(img='imgs/'),
    test_mode=True,
    pipeline='${test_pipeline}',
)
val_dataloader = dict(dataset=dict(val_dataset))
test_dataloader = dict(dataset=dict(val_dataset))

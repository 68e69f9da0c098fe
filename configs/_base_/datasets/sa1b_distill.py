# SA-1B without labels: a folder of shards, extracted or not, of which a few images are held out. The
# longer side becomes image_size and the rest is padded, as SAM was trained.
_base_ = './images_distill.py'

dataset_type = 'SA1BDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/SA1B/'
image_size = 1024
train_batch_size = lr_batch_size = 4
num_workers = 4
train_pipeline = [
    dict(type='LoadReducedImage', scale='${image_size}'),
    dict(type='Resize', scale='${image_size}', keep_ratio=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='PackDistillInputs'),
]
test_pipeline = '${train_pipeline}'

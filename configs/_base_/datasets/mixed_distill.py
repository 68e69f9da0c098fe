# Every real image at hand, as unlabelled ones: SA-1B, and the training images of SSDD and NWPU.
# Agreement is measured on whole NWPU val images.
_base_ = './images_distill.py'

data_root = '{{$RS4D_DATA_ROOT:data}}/'
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        ignore_keys=['classes', 'palette'],
        datasets=[
            dict(type='SA1BDataset', data_root='${data_root}SA1B/', pipeline='${train_pipeline}'),
            dict(
                type='SSDDInsSegDataset',
                data_root='${data_root}SSDD/',
                ann_file='annotations/SSDD_instances_train.json',
                data_prefix=dict(img='imgs/'),
                pipeline='${train_pipeline}',
            ),
            dict(
                type='NWPUInsSegDataset',
                data_root='${data_root}NWPU/',
                ann_file='annotations/NWPU_instances_train.json',
                data_prefix=dict(img='imgs/'),
                pipeline='${train_pipeline}',
            ),
        ],
    ),
)
val_dataset = dict(
    _delete_=True,
    type='NWPUInsSegDataset',
    data_root='${data_root}NWPU/',
    ann_file='annotations/NWPU_instances_val.json',
    data_prefix=dict(img='imgs/'),
    test_mode=True,
    pipeline='${test_pipeline}',
)
val_dataloader = dict(dataset=dict(val_dataset))
test_dataloader = dict(dataset=dict(val_dataset))

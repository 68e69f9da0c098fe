# WHU building, evaluated on its test split; annotations by whu2coco.py. Otherwise as SSDD.
_base_ = './ssdd_instance.py'

dataset_type = 'WHUInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/WHU/'
train_batch_size = 8

train_dataloader = dict(
    batch_size=train_batch_size,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/WHU_building_train.json',
        data_prefix=dict(img='train/image/'),
    ),
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        ann_file='annotations/WHU_building_test.json',
        data_prefix=dict(img='test/image/'),
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/WHU_building_test.json')
test_evaluator = val_evaluator

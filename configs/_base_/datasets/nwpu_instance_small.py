# NWPU VHR-10 at a size for CPUs; pipelines and loaders as for SSDD.
_base_ = './ssdd_instance_small.py'

dataset_type = 'NWPUInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/NWPU/'

train_dataloader = dict(
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='annotations/NWPU_instances_train.json'
    )
)
val_dataloader = dict(
    dataset=dict(
        type=dataset_type, data_root=data_root, ann_file='annotations/NWPU_instances_val.json'
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/NWPU_instances_val.json')
test_evaluator = val_evaluator

# WHU building, evaluated on its test split; annotations by whu2coco.py.
dataset_type = 'WHUInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/WHU/'
train_annotations = 'annotations/WHU_building_train.json'
val_annotations = 'annotations/WHU_building_test.json'
train_images = 'train/image/'
val_images = 'test/image/'
train_batch_size = 8
lr_batch_size = 8  # what the learning rate is meant for; --auto-scale-lr compares with it

# SSDD, evaluated on val (232 images).
dataset_type = 'SSDDInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/SSDD/'
train_annotations = 'annotations/SSDD_instances_train.json'
val_annotations = 'annotations/SSDD_instances_val.json'
train_images = val_images = 'imgs/'
train_batch_size = 4
lr_batch_size = 4  # what the learning rate is meant for; --auto-scale-lr compares with it

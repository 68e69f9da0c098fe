# iSAID in patches of 800x800, as its devkit cuts them, evaluated on val.
dataset_type = 'ISAIDInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/iSAID/'
train_annotations = 'train/instancesonly_filtered_train.json'
val_annotations = 'val/instancesonly_filtered_val.json'
train_images = 'train/images/'
val_images = 'val/images/'
train_batch_size = 4
lr_batch_size = 4  # what the learning rate is meant for; --auto-scale-lr compares with it

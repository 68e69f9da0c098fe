# A COCO set of your own: the command line names it (--data, --train, --val, --images), or a config
# that inherits this one. Its classes are those of train's file.
dataset_type = 'CocoInsSegDataset'
data_root = ''
train_annotations = val_annotations = ''
train_images = val_images = ''
train_batch_size = 4
lr_batch_size = 4  # what the learning rate is meant for; --auto-scale-lr compares with it

# HRSID: ships in high-resolution SAR images, evaluated on its test split (1,962 images).
dataset_type = 'HRSIDInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/HRSID/'
train_annotations = 'annotations/train2017.json'
val_annotations = 'annotations/test2017.json'
train_images = val_images = 'JPEGImages/'
train_batch_size = 4
lr_batch_size = 4  # what the learning rate is meant for; --auto-scale-lr compares with it

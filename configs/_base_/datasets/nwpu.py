# NWPU VHR-10, evaluated on val (130 images).
dataset_type = 'NWPUInsSegDataset'
data_root = '{{$RS4D_DATA_ROOT:data}}/NWPU/'
train_annotations = 'annotations/NWPU_instances_train.json'
val_annotations = 'annotations/NWPU_instances_val.json'
train_images = val_images = 'imgs/'
train_batch_size = 4
lr_batch_size = 4  # what the learning rate is meant for; --auto-scale-lr compares with it

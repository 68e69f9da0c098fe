# Generated scenes, evaluated on scenes that are held out.
# python tools/dataset_converters/generate_scenes.py work_dirs/demo/scenes
_base_ = './coco_1024.py'

dataset_type = 'ScenesInsSegDataset'
data_root = 'work_dirs/demo/scenes/'
train_annotations = 'annotations/scenes_train.json'
val_annotations = 'annotations/scenes_val.json'
train_images = val_images = 'imgs/'
image_size = 128  # half of the size that they are drawn at: a CPU has to keep up
num_workers = 1
train_batch_size = lr_batch_size = 8
flip = dict(prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
train_pipeline = [
    '${load_image}',
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    '${flip}',
    dict(type='Resize', scale='${image_size}', keep_ratio=True),
    dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-5, 1e-5), by_mask=True),
    dict(type='PadKeepingShape', size='${image_size}', pad_val='${pad_val}'),
    dict(type='PackDetInputs'),
]

# COCO instance segmentation at a size for CPUs: flips both ways and a mild scale jitter.
_base_ = './coco_1024.py'

image_size = 256
num_workers = 1
flip = dict(prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])
scale_range = (0.8, 1.25)

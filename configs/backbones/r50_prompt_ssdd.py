# MMDetection's ResNet-50 and FPN under the prompt head; its masks have the grain of stride 32.
_base_ = [
    '../_base_/models/prompt.py',
    '../_base_/sam/vit-b.py',
    '../_base_/datasets/coco_1024.py',
    '../_base_/datasets/ssdd.py',
    '../_base_/schedules/finetune_800e.py',
    '../_base_/default_runtime.py',
]

embed_dims = 2048  # of the last map

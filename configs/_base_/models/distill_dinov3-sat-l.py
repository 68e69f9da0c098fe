# DINOv3's ViT-L that was trained on satellite images. timm downloads it; a file of Meta's or a folder of
# transformers' will do as well: --cfg-options teacher_checkpoint=PATH
_base_ = './distill_teacher.py'

teacher_checkpoint = 'timm://vit_large_patch16_dinov3.sat493m'
model = dict(
    teacher=dict(
        type='TimmEncoder',
        model_name='vit_large_patch16_dinov3',
        norm=True,
        checkpoint='${teacher_checkpoint}',
    ),
    teacher_mean=[109.65, 104.805, 75.48],
    teacher_std=[54.315, 39.78, 36.465],
)

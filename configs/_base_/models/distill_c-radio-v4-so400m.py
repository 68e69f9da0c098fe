# C-RADIOv4 of 431 M parameters. timm downloads it; NVIDIA's model.safetensors will do as well:
# --cfg-options teacher_checkpoint=PATH
_base_ = './distill_teacher.py'

teacher_checkpoint = 'timm://naflexvit_so400m_patch16_radio_v4.c_radio'
model = dict(
    teacher=dict(
        type='TimmEncoder',
        # Not vit_so400m_patch16_radio_v4, which has the positions of one image size alone.
        model_name='naflexvit_so400m_patch16_radio_v4',
        checkpoint='${teacher_checkpoint}',
    ),
    # RADIO's own, which its code applies to images between 0 and 1.
    teacher_mean=[122.7709383, 116.7460125, 104.09373615],
    teacher_std=[68.5005327, 66.6321579, 70.32316305],
)

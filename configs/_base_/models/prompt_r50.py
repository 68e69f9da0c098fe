# An ImageNet ResNet-50 with FPN under the prompt head; its masks have the grain of stride 32.
_base_ = ['./mask-rcnn_r50.py', './prompt_losses.py']

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=2048,  # the last map's
            decoder=dict(
                type='SAMMaskDecoder',
                checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_b_01ec64.pth',
            ),
            loss_mask={{_base_.loss_mask}},
            loss_dice={{_base_.loss_dice}},
        ),
    ),
)

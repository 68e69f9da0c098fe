# RSMamba-large, distilled in stage 1, under the prompt head with its teacher's mask decoder.
_base_ = ['./mask-rcnn_rsmamba-large.py', './prompt_losses.py']

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            decoder=dict(
                type='SAMMaskDecoder',
                checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_l_0b3195.pth',
            ),
            loss_mask={{_base_.loss_mask}},
            loss_dice={{_base_.loss_dice}},
        ),
    ),
)

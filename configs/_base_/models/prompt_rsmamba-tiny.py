# A small RSMamba under the prompt head, for two CPU cores; SAM's decoder from random weights.
_base_ = ['./mask-rcnn_rsmamba-tiny.py', './prompt_losses.py']

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        max_masks_per_image=8,
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=192,
            box_prompt=True,  # the decoder has not learnt to look where the tokens say
            prompter=dict(in_channels={{_base_.width}}),
            loss_mask={{_base_.loss_mask}},
            loss_dice={{_base_.loss_dice}},
        ),
    ),
)

# A narrow Mask R-CNN with the prompt head, for two CPU cores; SAM's decoder from random weights.
_base_ = ['./mask-rcnn_small.py', './prompt_losses.py']

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        max_masks_per_image=8,
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels='${embed_dims}',
            box_prompt=True,  # the decoder has not learnt to look where the tokens say
            prompter=dict(in_channels='${width}'),
            loss_mask='${loss_mask}',
            loss_dice='${loss_dice}',
        ),
    ),
)

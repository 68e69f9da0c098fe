# Mask R-CNN with the prompt head in its mask branch: SAM's mask decoder, asked for each box. It works on
# the encoder's last map, so that its masks have the grain of that map's stride. A config lists one of
# _base_/sam, whose decoder is taken, and says or inherits embed_dims, the last map's channels.
_base_ = ['./mask-rcnn.py', './prompt_losses.py']

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels='${embed_dims}',
            decoder=dict(type='SAMMaskDecoder', checkpoint='${sam_checkpoint}'),
            loss_mask='${loss_mask}',
            loss_dice='${loss_dice}',
        ),
    ),
)

# A small RSMamba under the prompt head, for two CPU cores; SAM's decoder from random weights.
_base_ = './mask-rcnn_rsmamba-tiny.py'

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        max_masks_per_image=8,
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=192,
            prompter=dict(in_channels={{_base_.width}}),
            # SAM's own weights: the mean over an image's pixels is small where objects are.
            loss_mask=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=20.0),
        ),
    ),
)

# A small RSMamba under the prompt head, for two CPU cores; SAM's decoder from random weights.
_base_ = './mask-rcnn_rsmamba-tiny.py'

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=192,
            prompter=dict(in_channels={{_base_.width}}),
        ),
    ),
)

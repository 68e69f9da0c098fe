# RSPrompter-anchor: SAM's ViT-B encoder under the prompt head with SAM's own mask decoder.
_base_ = './mask-rcnn_sam-vit-b.py'

model = dict(
    type='PromptMaskRCNN',
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=768,  # the last block's map
            decoder=dict(
                type='SAMMaskDecoder',
                checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_b_01ec64.pth',
            ),
        ),
    ),
)

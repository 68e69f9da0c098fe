# RSPrompter-anchor: SAM's ViT-B encoder under the prompt head with SAM's own mask decoder. As in the
# published code the encoder is frozen and the decoder, which is trained, gets SAM's embedding after its
# neck. Losses, point codes and anchors are those of our prompt models: rs4d/models/heads/README.md.
_base_ = ['./mask-rcnn_sam-vit-b.py', './prompt_losses.py']

norm_cfg = dict(type='LN2d')
model = dict(
    type='PromptMaskRCNN',
    backbone=dict(with_embedding=True),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=768,
            num_inputs=6,
            in_indices=tuple(range(6)),  # the last map is the embedding
            hidden_channels=32,
            out_channels=256,
            norm_cfg=norm_cfg,
        ),
        dict(type='SimpleFPN', in_channels=256, out_channels=256, norm_cfg=norm_cfg),
    ],
    roi_head=dict(
        type='PromptRoIHead',
        mask_head=dict(
            _delete_=True,
            type='PromptMaskHead',
            embedding_channels=256,
            decoder=dict(
                type='SAMMaskDecoder',
                checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_b_01ec64.pth',
            ),
            loss_mask={{_base_.loss_mask}},
            loss_dice={{_base_.loss_dice}},
        ),
    ),
)

# Learned queries that ask SAM's mask decoder: Mask2Former's decoder at RSPrompter-query's settings
# finds the objects. It works on the encoder's last map, so that its masks have the grain of that map's
# stride. With an ImageNet ResNet-50 and FPN unless a config has another encoder. A config lists one of
# _base_/sam, whose decoder is taken, and says or inherits embed_dims, the last map's channels.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = (4, 8, 16, 32, 64)
width = 256  # of the neck's maps
num_queries = 100  # 30 on SSDD and 70 on NWPU, as the authors have it
attention = dict(embed_dims=128, num_heads=8, dropout=0.0, batch_first=True)
feed_forward = dict(
    embed_dims=128,
    feedforward_channels=512,
    num_fcs=2,
    ffn_drop=0.0,
    act_cfg=dict(type='ReLU', inplace=True),
)
model = dict(
    _delete_=True,
    type='PromptQueryDetector',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone={{_base_.model.backbone}},
    neck={{_base_.model.neck}},
    bbox_head=dict(
        type='PromptQueryHead',
        num_classes='${num_classes}',
        num_queries='${num_queries}',
        embedding_channels='${embed_dims}',
        decoder=dict(type='SAMMaskDecoder', checkpoint='${sam_checkpoint}', mask_prompt=True),
        in_channels=['${width}'] * 5,
        feat_channels=128,
        out_channels=256,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            strides='${pyramid_strides}',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=3,
                layer_cfg=dict(
                    self_attn_cfg=dict(num_levels=3, num_points=4, **attention),
                    ffn_cfg=feed_forward,
                ),
            ),
            positional_encoding=dict(num_feats=64, normalize=True),
        ),
        positional_encoding=dict(num_feats=64, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=6,
            layer_cfg=dict(self_attn_cfg=attention, cross_attn_cfg=attention, ffn_cfg=feed_forward),
            init_cfg=None,
        ),
        no_object_weight=0.1,
        loss_cls=dict(
            type='CrossEntropyLoss', use_sigmoid=False, reduction='mean', loss_weight=2.0
        ),
        loss_mask=dict(
            type='CrossEntropyLoss', use_sigmoid=True, reduction='mean', loss_weight=5.0
        ),
        loss_dice=dict(
            type='DiceLoss',
            use_sigmoid=True,
            activate=True,
            reduction='mean',
            naive_dice=True,
            eps=1.0,
            loss_weight=5.0,
        ),
    ),
    train_cfg=dict(
        num_points=12544,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        assigner=dict(
            type='HungarianAssigner',
            match_costs=[
                dict(type='ClassificationCost', weight=2.0),
                dict(type='CrossEntropyLossCost', weight=5.0, use_sigmoid=True),
                dict(type='DiceCost', weight=5.0, pred_act=True, eps=1.0),
            ],
        ),
    ),
    test_cfg=dict(score_thr=0.01, max_per_img='${num_queries}', mask_thr_binary=0.5),
)

# RTMDet-Ins (the head of its size l) with an ImageNet ResNet-50 in CSPNeXt's place, so that the
# baselines share one; otherwise at MMDetection's settings.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

pyramid_strides = [8, 16, 32]  # and 64 where a neck makes it
silu = dict(type='SiLU', inplace=True)
batch_norm = dict(type='BN')  # RTMDet makes it SyncBN where several processes train
model = dict(
    _delete_=True,
    type='EmptySafeRTMDet',
    data_preprocessor={{_base_.model.data_preprocessor}},
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=[
        # CSPNeXtPAFPN's blocks are as wide as what comes in; at ResNet's 2048 they would outweigh it.
        dict(
            type='ChannelMapper',
            in_channels=[512, 1024, 2048],
            out_channels=256,
            kernel_size=1,
            num_outs=3,
            norm_cfg=batch_norm,
            act_cfg=silu,
        ),
        dict(
            type='CSPNeXtPAFPN',
            in_channels=[256, 256, 256],
            out_channels=256,
            num_csp_blocks=3,
            expand_ratio=0.5,
            norm_cfg=batch_norm,
            act_cfg=silu,
        ),
    ],
    bbox_head=dict(
        type='RTMDetInsSepBNHead',
        num_classes='${num_classes}',
        in_channels=256,
        stacked_convs=2,
        share_conv=True,
        pred_kernel_size=1,
        feat_channels=256,
        act_cfg=silu,
        norm_cfg=batch_norm,
        anchor_generator=dict(type='MlvlPointGenerator', offset=0, strides='${pyramid_strides}'),
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=2.0),
        loss_mask=dict(type='DiceLoss', loss_weight=2.0, eps=5e-6, reduction='mean'),
    ),
    train_cfg=dict(
        assigner=dict(type='DynamicSoftLabelAssigner', topk=13),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        nms=dict(type='nms', iou_threshold=0.6),
        max_per_img=100,
        mask_thr_binary=0.5,
    ),
)

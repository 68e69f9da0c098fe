# A whole fine-tuning in seconds: used with generated scenes by the tests of the tools.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../../configs/_base_/datasets/scenes_instance.py',
    '../../configs/_base_/schedules/finetune_cpu.py',
    '../../configs/_base_/default_runtime.py',
]

data_root = '{{$RS4D_TINY_ROOT:scenes}}/'
image_size = 64
width = 16
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
    dict(type='PadKeepingShape', size=(image_size, image_size)),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
num_classes = 2
model = dict(
    backbone=dict(
        _delete_=True,
        type='RSMamba',
        arch=dict(embed_dims=16, num_layers=2, inner_dims=24, d_state=4, dt_rank=2),
        img_size=image_size,
        out_indices=(0, 1),
    ),
    neck=[
        dict(
            type='RSFeatureAggregator',
            in_channels=16,
            num_inputs=2,
            hidden_channels=8,
            out_channels=16,
        ),
        dict(type='SimpleFPN', in_channels=16, out_channels=width),
    ],
    rpn_head=dict(in_channels=width, feat_channels=width),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=width),
        bbox_head=dict(in_channels=width, fc_out_channels=32, num_classes=num_classes),
        mask_roi_extractor=dict(out_channels=width),
        mask_head=dict(
            num_convs=1, in_channels=width, conv_out_channels=width, num_classes=num_classes
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=50, max_per_img=20), rcnn=dict(sampler=dict(num=16))),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(max_per_img=5, score_thr=0.0)),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=test_pipeline),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root=data_root, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/scenes_val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
env_cfg = dict(mp_cfg=dict(mp_start_method='fork'))

# The three box heads of Cascade Mask R-CNN for 1 class, at MMDetection's settings: each stage refines
# its boxes by smaller steps. A list is replaced as a whole, so the classes are set here.
num_classes = 1
cascade_heads = [
    dict(
        type='Shared2FCBBoxHead',
        in_channels=256,
        fc_out_channels=1024,
        roi_feat_size=7,
        num_classes=num_classes,
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder',
            target_means=[0.0, 0.0, 0.0, 0.0],
            target_stds=[of_centre, of_centre, of_size, of_size],
        ),
        reg_class_agnostic=True,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
    )
    for of_centre, of_size in ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
]

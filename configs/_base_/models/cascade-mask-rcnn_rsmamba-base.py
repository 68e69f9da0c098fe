# RSMamba-base, distilled in stage 1, under Cascade Mask R-CNN.
_base_ = ['./cascade-mask-rcnn_r50.py', './encoder_rsmamba-base.py']

model = dict(
    backbone={{_base_.encoder}},
    neck=[{{_base_.aggregator}}, {{_base_.pyramid}}],
)

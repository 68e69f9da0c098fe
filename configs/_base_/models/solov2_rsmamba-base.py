# RSMamba-base, distilled in stage 1, under SOLOv2.
_base_ = ['./solov2_r50.py', './encoder_rsmamba-base.py']

model = dict(
    backbone={{_base_.encoder}},
    neck=[{{_base_.aggregator}}, {{_base_.pyramid}}],
)

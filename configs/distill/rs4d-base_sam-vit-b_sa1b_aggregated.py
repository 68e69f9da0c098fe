# Beside the embedding, every second block of the student through the feature aggregator of stage 2.
_base_ = [
    '../_base_/models/distill_sam.py',
    '../_base_/sam/vit-b.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    losses=dict(
        loss_aggregated=dict(
            type='AggregatedMatch',
            student_blocks=tuple(range(1, 24, 2)),
            aggregator=dict(
                type='RSFeatureAggregator', hidden_channels=32, norm_cfg=dict(type='LN2d')
            ),
        ),
    ),
)

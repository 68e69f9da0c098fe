# Beside the embedding, every second block of the student through the feature aggregator of stage 2.
_base_ = './rs4d-base_sam-vit-b_sa1b.py'

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

# Beside the embedding, SAM's four global attention blocks against the student's at the same depths;
# masked patches weigh twice as much.
_base_ = [
    '../_base_/models/distill_sam.py',
    '../_base_/sam/vit-b.py',
    '../_base_/datasets/sa1b_distill.py',
    '../_base_/schedules/distill_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    losses=dict(
        loss_embedding=dict(type='EmbeddingMatch', masked_weight=2.0),
        loss_blocks=dict(
            type='BlockMatch',
            student_blocks=(5, 11, 17, 23),
            teacher_blocks=(2, 5, 8, 11),
            loss=dict(type='FeatureLoss', kind='smooth_l1', loss_weight=0.5),
            masked_weight=2.0,
        ),
    ),
)

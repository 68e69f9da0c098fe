# SAM 3: what its decoders read, at stride 14. Of Meta or of transformers.
_base_ = './distill_teacher.py'

teacher_checkpoint = '{{$RS4D_DATA_ROOT:data}}/checkpoints/sam3.pt'
model = dict(
    teacher=dict(
        type='TransformersSAM',
        arch='sam3',
        img_size='${image_size.0}',
        checkpoint='${teacher_checkpoint}',
    ),
    teacher_mean=[127.5, 127.5, 127.5],
    teacher_std=[127.5, 127.5, 127.5],
)

# SAM 2.1 with the large Hiera: what its mask decoder reads, at stride 16. Of Meta or of transformers.
_base_ = './distill_teacher.py'

teacher_checkpoint = '{{$RS4D_DATA_ROOT:data}}/checkpoints/sam2.1_hiera_large.pt'
model = dict(
    # It was trained with the normalisation that the student has.
    teacher=dict(type='TransformersSAM', arch='sam2-large', checkpoint='${teacher_checkpoint}'),
)

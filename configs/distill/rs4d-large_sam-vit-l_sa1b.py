_base_ = './rs4d-base_sam-vit-b_sa1b.py'

model = dict(
    student=dict(arch='large'),
    teacher_dtype='float16',
    teacher=dict(
        arch='large',
        checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_l_0b3195.pth',
    ),
)

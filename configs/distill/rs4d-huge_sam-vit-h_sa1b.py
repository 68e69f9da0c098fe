_base_ = './rs4d-base_sam-vit-b_sa1b.py'

model = dict(
    student=dict(arch='huge'),
    teacher_dtype='float16',
    teacher=dict(
        arch='huge',
        checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_h_4b8939.pth',
    ),
)

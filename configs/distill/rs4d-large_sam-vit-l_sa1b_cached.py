# python tools/cache_teacher.py configs/distill/rs4d-large_sam-vit-l_sa1b_cached.py
_base_ = './rs4d-base_sam-vit-b_sa1b_cached.py'

cache_dir = '{{$RS4D_CACHE_ROOT:work_dirs/teacher_cache}}/sam-vit-l_sa1b'
model = dict(
    student=dict(arch='large'),
    teacher=dict(
        arch='large',
        checkpoint='{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_l_0b3195.pth',
    ),
    teacher_cache=cache_dir,
)
image_size = 1024
distill_pipeline = [
    dict(
        type='LoadTeacherEmbedding',
        cache_dir=cache_dir,
        data_root='{{$RS4D_DATA_ROOT:data}}/SA1B/',
        transforms=[
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(image_size, image_size), keep_ratio=True),
            dict(
                type='PadKeepingShape',
                size=(image_size, image_size),
                pad_val=dict(img=(104, 116, 124), masks=0),
            ),
        ],
    ),
    dict(type='PackDistillInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=distill_pipeline))
val_dataloader = dict(dataset=dict(pipeline=distill_pipeline))
test_dataloader = val_dataloader

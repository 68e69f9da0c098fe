# SAM with the ViT-B, as Meta publishes it:
# https://github.com/facebookresearch/segment-anything#model-checkpoints
sam_name = 'sam-vit-b'
sam_arch = 'base'
sam_checkpoint = '{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_b_01ec64.pth'

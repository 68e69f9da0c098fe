# SAM with the ViT-L, as Meta publishes it:
# https://github.com/facebookresearch/segment-anything#model-checkpoints
sam_name = 'sam-vit-l'
sam_arch = 'large'
sam_checkpoint = '{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_l_0b3195.pth'

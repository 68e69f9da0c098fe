# SAM with the ViT-H, as Meta publishes it:
# https://github.com/facebookresearch/segment-anything#model-checkpoints
sam_name = 'sam-vit-h'
sam_arch = 'huge'
sam_checkpoint = '{{$RS4D_DATA_ROOT:data}}/checkpoints/sam_vit_h_4b8939.pth'

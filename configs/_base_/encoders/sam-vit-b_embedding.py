# SAM's ViT-B with its embedding behind its neck as the last map, which the prompt head works on; the
# aggregator leaves that one out.
_base_ = './sam-vit-b.py'

embed_dims = 256
encoder = dict(with_embedding=True)

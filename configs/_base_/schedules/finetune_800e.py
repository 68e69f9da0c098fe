# 50 iterations of warm-up, then cosine down to nothing; evaluated every 10 epochs.
_base_ = './adamw_cosine.py'

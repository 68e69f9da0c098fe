_base_ = './adamw_cosine.py'

max_epochs = 1600

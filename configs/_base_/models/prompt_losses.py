# The losses of the prompt head, the same in every model that has it. The authors train with cross-
# entropy alone, at weight 1. Its mean over an image's pixels hardly sees small objects: 20 makes up
# for some of that, and dice counts them like large ones. Both are ours; see
# rs4d/models/heads/README.md.
loss_mask = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=20.0)
loss_dice = dict(type='DiceLoss', use_sigmoid=True, naive_dice=True, eps=1.0, loss_weight=1.0)

# The losses of the prompt head, the same in every model that has it; a config refers to them by
# _base_.loss_mask and so on. The authors train with cross-entropy alone, at weight 1. Its mean over an
# image's pixels is small where objects are: 20 brings it to the size of the box losses, and dice, which
# is ours too, sees small objects like large ones. What was trained here was trained with these.
loss_mask = dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=20.0)
loss_dice = dict(type='DiceLoss', use_sigmoid=True, naive_dice=True, eps=1.0, loss_weight=1.0)

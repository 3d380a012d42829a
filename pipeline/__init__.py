"""The domain: product lines, images, episodes, calibration, metrics, and the protocols the other packages fill in.

Nothing is imported here: the plant's runtime uses a few of these modules on machines without torch.
"""

"""What a training run will take before it is started: parameters, arithmetic, memory of a device, and days.

Nothing trains, and no accelerator is needed: the parts that exist once run on a few rows, a block of the backbone on a
few positions, and the rest is multiplication.
"""

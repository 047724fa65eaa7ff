"""What a training run will take before it is started: parameters, arithmetic, memory of a device, and days.

Nothing here trains, and nothing needs the devices that are asked about: the parts of a model that stand once are run on
a few rows, a block of its backbone on a few positions, and the rest is multiplication.
"""

from mmgen.tools.plan.estimate import Plan, Wish, plan

__all__ = ["Plan", "Wish", "plan"]

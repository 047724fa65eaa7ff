"""Motion of people: skeletons, the HumanML3D features, BVH and array files, and drawings."""

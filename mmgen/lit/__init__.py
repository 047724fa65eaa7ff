"""Lightning around the plain modules: two thin LightningModules, their optimiser, and the callbacks of a run."""

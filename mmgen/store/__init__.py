"""Trained models and figures on disk: run folders, checkpoints, exports, results."""

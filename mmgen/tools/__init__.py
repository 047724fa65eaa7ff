"""What is done with models besides training and sampling: compression, planning, benchmarks."""

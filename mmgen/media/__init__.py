"""Images, video and sound between arrays and files, and pictures of masks and spectrograms."""

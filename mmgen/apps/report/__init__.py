"""Pages about runs, made of what lies in their folders."""

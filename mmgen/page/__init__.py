"""A page about runs: one self-contained HTML file, made of what lies in their folders."""

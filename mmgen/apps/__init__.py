"""Programs for people: the command line, the local app, the demo. Nothing imports these."""

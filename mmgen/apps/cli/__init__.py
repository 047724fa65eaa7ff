"""The command line: a file a command, each read only when it is asked for."""

"""The command line: one file a verb, and the screen. Only this room prints."""

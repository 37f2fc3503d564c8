"""From files to results in one process, without Ray."""

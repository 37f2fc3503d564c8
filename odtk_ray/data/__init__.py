"""From files to shards: sources, annotation files, pictures, planning."""

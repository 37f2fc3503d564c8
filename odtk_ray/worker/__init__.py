"""One process's part of a run, without Ray: what its GPU can do, its engine, shards to files."""

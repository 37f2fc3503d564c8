"""From shard files to outputs: store, merge, evaluation, pictures, report."""

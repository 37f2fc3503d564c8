"""Ray: the session, one actor a worker, the queue that feeds them."""

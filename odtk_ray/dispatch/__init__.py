"""Who gets which shard, and what a crash means: decisions without Ray and without a clock."""

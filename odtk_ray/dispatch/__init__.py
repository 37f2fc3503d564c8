"""Decides who gets which shard, and what a crash means, without Ray and without a clock."""

"""Benchmarks: ratios measured in one run, beside the limit and beside what a user would otherwise pick."""

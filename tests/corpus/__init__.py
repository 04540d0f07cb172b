"""Objects that tests and benchmarks send: plain CT series, one huge object, and several hundred odd ones."""

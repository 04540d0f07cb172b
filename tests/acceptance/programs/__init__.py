"""The programs that acceptance tests and benchmarks run: Fileroom itself, and independent ones as its peers."""

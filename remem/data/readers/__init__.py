"""Other benchmarks' own files, read and made dataset folders."""

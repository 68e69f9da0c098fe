"""What models cost: counting, the matrix of configs, benchmarks."""

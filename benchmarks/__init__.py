"""What the service costs, beside what others cost; `python3 -m benchmarks` measures."""

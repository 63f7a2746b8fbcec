"""What a GPU brings the global networks: python -m bench.gpu."""

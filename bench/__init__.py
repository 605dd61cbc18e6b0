"""What Atoll costs, measured beside its peers in the same run: `python -m bench`."""

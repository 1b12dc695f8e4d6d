"""The pictures of the guide's chapter "Who computes what", drawn by what they show: ``python -m docs.drawings`` writes them."""

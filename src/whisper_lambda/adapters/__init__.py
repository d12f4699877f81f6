"""The ports on real technologies, one a file. Only bootstrap.py names them."""

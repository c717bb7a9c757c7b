"""How fast the server is, as multiples of a bare twisted.web server: `make bench`."""

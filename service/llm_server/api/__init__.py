"""HTTP and wire JSON. Knows no token: everything below `generation` is out of sight from here."""

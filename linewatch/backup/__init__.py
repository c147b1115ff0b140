"""All state of a host in one archive: taken while services run, verified, and put back whole or not at all."""

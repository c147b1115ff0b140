"""The wire: message schema, encoding, the service's sockets, and access control."""

"""Access control of the wire: keys, roles and the audit trail of commands."""

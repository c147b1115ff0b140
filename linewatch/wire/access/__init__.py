"""Who may connect and command: keys, roles and the audit trail."""

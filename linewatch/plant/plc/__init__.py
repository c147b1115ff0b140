"""What bridges to PLCs share: the values that a PLC reads, their codes, and acknowledging by bits."""

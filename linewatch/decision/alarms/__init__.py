"""From defects and faults to alarms (ISA-18.2)."""

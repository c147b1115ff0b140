"""Settings models, one module per section, and the loader that explains faults. No I/O but reading files."""

"""One strip from several cameras: what their services say of it becomes one record of the coil."""

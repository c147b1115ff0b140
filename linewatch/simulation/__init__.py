"""Rendered strip with known defects, simulated cameras and encoders, and faults on request."""

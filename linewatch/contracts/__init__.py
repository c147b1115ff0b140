"""The data types that rooms exchange, and the ports between them. Imports nothing else of linewatch."""

"""The nouns that cross room boundaries, and the ports. Imports nothing else of linewatch."""

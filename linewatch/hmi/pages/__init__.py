"""The pages, one module each; `linewatch.hmi.registry` lists them."""

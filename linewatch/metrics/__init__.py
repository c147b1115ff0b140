"""How well a network does: figures of arrays, each with its definition and paper, intervals, and plots.

A figure that is not defined (a class that never occurs, nothing called, no clean image) is None: never nan, never a
warning. Nothing here reads files of images or runs networks.
"""

"""`linewatch judge`: a chain of engines judged on whole frames whose defects are known.

`true_frames` reads a folder in any layout, `inspector` runs the product's own path on a frame, `judged` pairs what was
found with the truth, `figures` makes the figures of it, `record` keeps them for pooling. Training of the second stage
uses `judged.judge_frames` and `judged.InstanceTable`.
"""

"""Import of a network that was trained elsewhere: an ONNX file becomes an engine folder. Nothing here needs torch.

Start with `engine_import.import_engine`. `network_file` reads the file and its weights, `network` finds out what the
network takes and gives by running it, `outputs` decides how its output becomes a task's answer, `graph` builds the
engine's graph around it, `card` writes the model card.
"""

"""Export of a fitted network as an engine folder.

Start with `engine_folder.export_engine`, which writes ONNX, manifest and card; `int8` quantises a graph, `card_text`
holds the text that every manifest and card repeats.
"""

"""Evaluation of engines and checkpoints on labelled sets, and the export of those that are good enough.

Start with `evaluate`, which evaluates an `EvaluationTarget` (an engine or a checkpoint) by its task. `commands` holds
the work of `linewatch train` and `evaluate`; `engine_export` makes an engine of a checkpoint; `quantize` an INT8 engine
of an FP32 one, which `acceptance` accepts or refuses; `explain` draws activation maps; `network_table` lists networks.
"""

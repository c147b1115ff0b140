"""Fitting of the second stage, which makes a probability of an instance's evidence; learning from a mill's labels.

`instances` holds the rows to fit on, `second_stage` fits, `operating_point` chooses from which probability a defect is
told and called, `labelled` reads a history's labels, `learned_engine` writes a new engine beside the old one, and
`what_changes` says what that would have changed on past coils. Needs the extra `learn`, and no torch.
"""

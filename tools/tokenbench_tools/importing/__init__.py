"""Runs of other tools as run directories: sample logs of lmms-eval, files of VLMEvalKit, and plain tables.

Each format has a file that turns what it finds into `logged.Source` objects, one for every command that was run: `lmms_logs`,
`vlmevalkit`, `tables`. `cells` names them, `checks` and `pairing` refuse what cannot be compared, `known` finds the same questions in
the data, `images` says which questions share a picture, `scores` reads scores, and `writing` writes the run.

What a log does not hold, above all what was computed, stays unknown.
"""

"""One reader for doors, files, replay and history, so that the same data mean the same everywhere.

`bodies` makes rows of bytes; `rows` makes records of rows, by `paths`, `values` and `times`; `tables`, a room above,
does the same for whole columns of a file.
"""

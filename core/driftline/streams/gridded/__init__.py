"""The grid: what was observed at any time becomes one record for each period of a series.

A period is named by its end, at which it is known without a look ahead. What is observed exactly then still belongs to
it, so records that are on the grid already come out as they went in.
"""

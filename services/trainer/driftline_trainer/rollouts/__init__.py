"""Roll-outs of new versions, stage by stage: moved forward by what the edges found, stopped where that is bad."""

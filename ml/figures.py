"""Figures of a training run."""
def write_figures(folder, history, card, scored): pass

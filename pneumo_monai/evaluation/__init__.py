"""What a model is worth on films whose truth is known: figures with intervals, pictures, one page."""

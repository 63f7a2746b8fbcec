"""Pretraining of the transformer: a corpus from every data set, one learner, a checkpoint with its manifest."""

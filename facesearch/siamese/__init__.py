"""A Siamese network that is trained on the user's own people, and becomes a model like any other."""

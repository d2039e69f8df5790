"""What is kept of a library: the arrays and their checks, the .npz file, the journal beside it."""

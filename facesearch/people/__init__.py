"""People: the faces of an index in groups, one for each person."""

"""The pipeline on several machines; needs the extra `ray`."""

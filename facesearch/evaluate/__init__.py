"""How well models tell people apart: labelled photos in, figures and plots out."""

"""The forms in which results are written: text, tables, JSON, pictures, pages."""

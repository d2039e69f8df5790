"""An index in Milvus: one collection of photos and documents, one of faces."""

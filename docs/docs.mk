# docs: man page, completion, documents.

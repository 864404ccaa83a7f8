"""Finding what anybody knew: words, vectors, files, session logs."""

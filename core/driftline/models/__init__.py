"""Models as they lie in the store: manifests, signatures, and the interpreter that runs them."""

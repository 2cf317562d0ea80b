"""A GGUF model that runs along a layer path, and what it is made of."""

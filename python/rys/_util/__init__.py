"""Small helpers that know nothing of models, probes or sweeps."""

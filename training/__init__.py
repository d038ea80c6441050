"""Training of the embedded toy model. An application of this repository, not part of the packages."""

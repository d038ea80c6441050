"""Training of the embedded toy models. An application of this repository, not part of the packages."""

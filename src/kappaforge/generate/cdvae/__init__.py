"""The crystal diffusion variational autoencoder (CDVAE; arXiv 2110.06197) in plain torch."""

"""From today's scan to the features of a model: the sparse matrix of the stage `spatial_mask`."""

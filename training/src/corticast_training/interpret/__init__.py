"""Which of the four tasks each voxel serves: embeddings, a voxel-wise network, ridge, maps."""

TASKS = ("segmentation", "concepts", "description", "reconstruction")

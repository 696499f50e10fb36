"""Tools of the repository: cluster, images, S3 server. Standard library only; see README.md."""

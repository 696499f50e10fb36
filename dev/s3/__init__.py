"""The S3 server of demo and tests: SeaweedFS, on this host (`local`) or in the cluster (`install`)."""

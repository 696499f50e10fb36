"""S3 without faults."""
from dev.cases.store import Store, serve

serve(Store())

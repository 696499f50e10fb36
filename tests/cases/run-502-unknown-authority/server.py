"""S3 behind TLS, by an authority that nobody knows."""
from dev.cases.store import Store, serve

serve(Store(), authority="authority.pem")

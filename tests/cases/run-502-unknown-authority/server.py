"""S3 behind TLS, by an unknown authority."""
from dev.cases.store import Store, serve

serve(Store(), authority="authority.pem")

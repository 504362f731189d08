"""`pneumo-monai doctor`: what a site may get wrong, looked at while the service runs or before it does."""

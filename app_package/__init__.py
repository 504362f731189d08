"""The MONAI Application Package: the service's graph for one shot over a folder."""

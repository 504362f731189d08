"""From radiographs in the layout of the RSNA Pneumonia Detection Challenge to the bundle that the service loads."""

# Raises the stack limit that Holoscan looks at when MONAI imports it.
import pneumo_monai  # noqa: F401

__all__ = []
